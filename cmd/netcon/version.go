// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"fmt"
	"runtime"

	"netcon/dataplane"
)

var versionCommand = &command{
	name: "version", args: "[-json]", short: "print the version",
	help: `
Prints netcon's version, the Go version it was built with, and the platform.

  netcon version
  netcon version -json | jq -r .version`,
	run: func(c *call) error {
		asJSON := c.flags.Bool("json", false, "print JSON")
		if err := c.parse(0, 0); err != nil {
			return err
		}
		if *asJSON {
			return json.NewEncoder(c.stdout).Encode(map[string]string{
				"version": dataplane.Version(), "go": runtime.Version(), "platform": runtime.GOOS + "/" + runtime.GOARCH,
			})
		}
		fmt.Fprintf(c.stdout, "netcon %s (%s, %s/%s)\n", dataplane.Version(), runtime.Version(), runtime.GOOS, runtime.GOARCH)
		return nil
	},
}
