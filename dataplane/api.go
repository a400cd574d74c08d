// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"netcon/dataplane/socket"
	"netcon/dataplane/stat"
	"netcon/dataplane/xsk"
)

// Status is what `netcon status` reports. Fields are only ever added.
type Status struct {
	Version    string            `json:"version"`
	PID        int               `json:"pid"`
	UptimeSec  float64           `json:"uptime_seconds"`
	RuntimeDir string            `json:"runtime_dir"`
	Underlay   UnderlayStatus    `json:"underlay"`
	Workers    []WorkerStatus    `json:"workers"`
	Networks   []NetworkStatus   `json:"networks"`
	Containers []ContainerStatus `json:"containers"`
	Processes  []ProcessStatus   `json:"processes"`
}

// ProcessStatus describes a program that was started in a container.
type ProcessStatus struct {
	Container string `json:"container"`
	PID       int32  `json:"pid"`
	UID       uint32 `json:"uid"`
	Command   string `json:"command"`
	Mechanism string `json:"mechanism"` // preload, seccomp; none: its sockets are the host's
	Mode      string `json:"mode"`      // of its new sockets; empty without mechanism
	Reason    string `json:"reason,omitempty"`
	Sockets   int    `json:"sockets"` // that it made or accepted
}

// UnderlayStatus describes how encapsulated frames reach the wire.
type UnderlayStatus struct {
	Kind     string `json:"kind"`
	Address  string `json:"address"` // the VTEP's address and port
	MTU      int    `json:"mtu"`     // of the outer packet, bytes
	Features string `json:"features"`
}

// WorkerStatus describes one worker.
type WorkerStatus struct {
	Index      int    `json:"index"`
	CPU        int    `json:"cpu"` // -1: not pinned
	Containers int    `json:"containers"`
	RxFrames   uint64 `json:"rx_frames"`
	TxFrames   uint64 `json:"tx_frames"`
	Turns      uint64 `json:"turns"`
	Sleeps     uint64 `json:"sleeps"`
}

// NetworkStatus describes one network.
type NetworkStatus struct {
	Name    string   `json:"name"`
	VNI     uint32   `json:"vni"`
	Subnets []string `json:"subnets"`
	MTU     int      `json:"mtu"` // of the inner packet, bytes
	VTEPs   []string `json:"vteps"`
	Learn   bool     `json:"learn"`   // frames are taken from any VTEP
	Learned int      `json:"learned"` // addresses learned
	Members int      `json:"members"` // containers of this daemon
}

// ContainerStatus describes one container.
type ContainerStatus struct {
	Name       string      `json:"name"`
	Network    string      `json:"network"`
	Policy     string      `json:"policy"` // what becomes of what is not on the network: isolated, host
	Published  []Published `json:"published"`
	Addresses  []string    `json:"addresses"`
	MAC        string      `json:"mac"`
	MTU        int         `json:"mtu"` // of the inner packet, bytes
	Worker     int         `json:"worker"`
	Engine     string      `json:"engine"`
	Mode       string      `json:"mode"`
	Sockets    int         `json:"sockets"`
	BytesIn    uint64      `json:"bytes_in"`  // to applications
	BytesOut   uint64      `json:"bytes_out"` // from applications
	Restarts   uint64      `json:"restarts"`
	Neighbours []Neighbour `json:"neighbours"`
}

// Published is a port of a container that is reached at an address of the host.
type Published struct {
	Host  string `json:"host"`
	Port  uint16 `json:"port"`
	Proto string `json:"proto"`
	PID   int32  `json:"pid,omitempty"` // the program that netcon exec -p published it for
}

// Neighbour is one neighbour of a container on its network.
type Neighbour struct {
	IP     string  `json:"ip"`
	MAC    string  `json:"mac"`   // all zeros while it is not known
	State  string  `json:"state"` // as in RFC 4861 section 7.3.2, or FAILED
	AgeSec float64 `json:"age_seconds"`
}

// Socket is one application socket, as `netcon sockets` lists it.
type Socket struct {
	Container string `json:"container"`
	socket.Info
}

// Stats is every counter and drop reason: of each worker, of each container,
// and summed.
type Stats struct {
	Total      stat.Snapshot            `json:"total"`
	Workers    []stat.Snapshot          `json:"workers"`
	Containers map[string]stat.Snapshot `json:"containers"`
	Control    stat.Snapshot            `json:"control"`
	Underlay   *xsk.Report              `json:"underlay,omitempty"` // of kind xdp
}
