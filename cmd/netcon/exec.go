// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"os"
	"syscall"

	"netcon/dataplane"
	"netcon/dataplane/config"
	"netcon/dataplane/launch"
	"netcon/dataplane/supervise"
)

var execCommand = &command{
	name: "exec", args: "[-n CONTAINER] [-p PORTS] [-enforce] [-missing fail|kernel] [--] CMD [ARG ...]",
	short: "run a program with its network in a container",
	help: `
Runs CMD, unmodified, with its sockets in a container of a running daemon.
CMD and whatever it starts share the container. The exit status is CMD's.

  netcon exec -n web -- nginx -p /srv/web -c nginx.conf
  netcon exec -n shop -- curl http://10.42.0.10/
  netcon exec -n web -- bash            a shell inside the container
  netcon exec -n web -- ./server        a Go or static program, the same way
  netcon exec -enforce -n web -- ./job  nothing gets past it to the host's network
  netcon exec -n shop -- ping web       ICMP, and names of the network's containers
  netcon exec -p 8080:80 -n web -- nginx    the host's port 8080 is nginx's port 80
  netcon exec -p 5353:53/udp -n web -- dnsmasq -k    the same of UDP

TCP, UDP and ICMP over IPv4 and IPv6 go through the container; everything else
(files, AF_UNIX) stays with the kernel. What is not on the container's network is
unreachable, or goes over the host's stack where the configuration says policy =
"host". Dynamic programs get a preload library; static and Go programs, which no
library reaches, a supervisor behind their system calls: where the kernel or a
seccomp profile refuses that, they are not started. Set-user-ID programs are
refused.

With -p the daemon listens at an address of the host and hands each connection,
with its true peer, to the program that listens on the container's port; where
none does it is reset. With /udp behind the ports it does so with datagrams, and
answers go back from where they were asked for. It ends with CMD and what it
started.

With -enforce the program runs in an empty network namespace: calls that are not
answered by the container fail. It takes root, or a
kernel that lets ordinary users make user namespaces; there the program is a
child of netcon, not netcon itself.`,
	run: runExec,
}

func runExec(c *call) error {
	name := c.flags.String("n", "", "the `CONTAINER`; may be left out if the daemon has only one")
	dir := runtimeDirFlag(c)
	missing := c.flags.String("missing", "", "what new sockets do when the daemon is gone: `fail` (ENETDOWN) or kernel (the host's stack); default: as the container is configured")
	enforce := c.flags.Bool("enforce", false, "run the program in an empty network namespace, so that calls which escape fail")
	var publish []config.Publication
	c.flags.Func("p", "publish a port of the container: `[ADDRESS:]HOST-PORT:PORT[/udp]`; again for more", func(s string) error {
		p, err := config.ParsePublication(s)
		publish = append(publish, p)
		return err
	})
	if err := c.parse(1, -1); err != nil {
		return err
	}
	if *enforce && launch.Missing(*missing) == launch.MissingKernel {
		return fmt.Errorf("%w: -enforce leaves no host's stack for -missing kernel", errUsage)
	}
	switch launch.Missing(*missing) {
	case "", launch.MissingFail, launch.MissingKernel:
	default:
		return fmt.Errorf("%w: -missing %q (want fail or kernel)", errUsage, *missing)
	}
	argv := c.flags.Args()
	path, err := launch.Find(argv[0])
	if errors.Is(err, os.ErrPermission) || errors.Is(err, syscall.EISDIR) {
		return execFailed(c, err, 126)
	}
	if err != nil {
		return execFailed(c, err, 127)
	}
	how, err := launch.Inspect(path)
	if err != nil {
		return execFailed(c, err, 126)
	}
	shim, err := launch.Shim()
	if err != nil {
		return err
	}
	a, err := launch.Attach(dataplane.AttachPath(*dir), *name)
	if errors.Is(err, launch.ErrNoDaemon) && launch.Missing(*missing) == launch.MissingKernel {
		fmt.Fprintf(c.stderr, "netcon: %v; running on the host's network\n", err)
		return execFailed(c, launch.Exec(path, argv, os.Environ()), 126)
	}
	if err != nil {
		return err
	}
	for _, p := range publish {
		if err := a.Publish(p.Host, p.Port, p.Proto); err != nil {
			return err
		}
	}
	policy := a.Missing
	if *missing != "" {
		policy = launch.Missing(*missing)
	}
	env := a.Environ(os.Environ(), shim, policy)
	if how == launch.Seccomp {
		if env, err = supervise.Prepare(a, env, policy); err != nil {
			return execFailed(c, err, 126)
		}
	}
	if !*enforce {
		return execFailed(c, launch.Exec(path, argv, env), 126)
	}
	status, err := launch.ExecEnforced(path, argv, env)
	if err != nil {
		return execFailed(c, err, 126)
	}
	return ended(status)
}

// ended is the end of a program that ran as a child.
func ended(status int) error {
	if status == 0 {
		return nil
	}
	return exitStatus(status)
}

// execFailed ends with the status a shell would give.
func execFailed(c *call, err error, status exitStatus) error {
	fmt.Fprintf(c.stderr, "netcon: %v\n", err)
	return status
}
