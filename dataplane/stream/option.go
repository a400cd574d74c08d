// SPDX-License-Identifier: Apache-2.0

package stream

// optionRange is the values an option takes, as in Linux; the rest is EINVAL.
var optionRange = [NumOptions]struct{ least, most int }{
	OptReuseAddr:    {0, 1},
	OptReusePort:    {0, 1},
	OptKeepAlive:    {0, 1},
	OptKeepIdle:     {1, 32767},
	OptKeepInterval: {1, 32767},
	OptKeepCount:    {1, 127},
	OptNoDelay:      {0, 1},
	OptCork:         {0, 1},
	OptQuickAck:     {0, 1},
	OptMaxSeg:       {0, 32767},
	OptUserTimeout:  {0, 1<<31 - 1},
	OptSynCount:     {1, 127},
	OptDeferAccept:  {0, 1<<31 - 1},
	OptLinger2:      {-1 << 31, 1<<31 - 1},
	OptSendBuffer:   {0, 1<<31 - 1},
	OptRecvBuffer:   {0, 1<<31 - 1},
	OptNotSentLowat: {-1 << 31, 1<<31 - 1},
	OptTOS:          {0, 255},
	OptTTL:          {1, 255},
	OptV6Only:       {0, 1},
	OptLinger:       {-1, 1<<31 - 1},

	OptBroadcast:     {0, 1},
	OptMulticastTTL:  {0, 255},
	OptMulticastLoop: {0, 1},
	OptMulticastAll:  {0, 1},
	OptMTUDiscover:   {0, 5},
	OptMTU:           {1, 0}, // read only
	OptRecvErr:       {0, 1},
}

// Takes reports whether v is a value of the option, which is below NumOptions.
func (o Option) Takes(v int) bool {
	r := &optionRange[o]
	return r.least <= v && v <= r.most
}
