// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"

	"netcon/dataplane/launch"
	"netcon/internal/demo"
)

// demoTour runs the demo: as an ordinary user, and then, for root, on a NIC.
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
		fmt.Fprintln(c.stdout, "netcon demo (a): without privileges")
		err := demo.Drop(ctx, o)
		var ended *exec.ExitError
		if errors.As(err, &ended) && ctx.Err() == nil {
			return exitStatus(exitFailed) // it said why
		}
		if err != nil {
			return err
		}
		fmt.Fprintln(c.stdout, "netcon demo (b): on a NIC")
		return demo.RunNIC(ctx, o)
	}
	return demo.Run(ctx, o)
}
