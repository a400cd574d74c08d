// SPDX-License-Identifier: Apache-2.0

package bench

import "context"

// alone is the system of workloads that bring everything they need.
const alone = "alone"

var _ = registerSystem(&systemKind{
	name: alone, about: "nothing: for workloads that bring their own",
	make: func(string, map[string]string) System { return aloneSystem{} },
})

type aloneSystem struct{}

func (aloneSystem) Name() string      { return alone }
func (aloneSystem) Check(Tools) error { return nil }

func (aloneSystem) Up(context.Context, *Site, Link) (*Pair, error) { return &Pair{}, nil }
