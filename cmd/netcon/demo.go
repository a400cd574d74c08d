// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"os"

	"netcon/dataplane/launch"
	"netcon/internal/demo"
)

// demoTour runs the demo, as an ordinary user.
func demoTour(ctx context.Context, c *call) error {
	exe, err := os.Executable()
	if err != nil {
		return err
	}
	shim, err := launch.Shim()
	if err != nil {
		return err
	}
	o := demo.Options{Exe: exe, Shim: shim, Out: c.stdout, Err: c.stderr}
	if os.Geteuid() == 0 {
		fmt.Fprintln(c.stdout, "netcon demo")
		return demo.Drop(ctx, o)
	}
	return demo.Run(ctx, o)
}
