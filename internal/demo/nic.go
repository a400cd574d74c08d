// SPDX-License-Identifier: Apache-2.0

package demo

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"time"
)

// The outer addresses of part (b).
const (
	hostVTEP  = "192.0.2.1"
	stockVTEP = "192.0.2.2"
)

// nicTour is one run of part (b).
type nicTour struct {
	tour
	host, stock string // the namespaces
	redis       string
	benchmark   string
}

// RunNIC shows part (b), as root: AF_XDP against a stock kernel.
func RunNIC(ctx context.Context, o Options) (err error) {
	t := &nicTour{tour: tour{Options: o}}
	t.host, t.stock = fmt.Sprintf("netcon-demo-%d-host", os.Getpid()), fmt.Sprintf("netcon-demo-%d-stock", os.Getpid())
	t.on = inNamespace(t.host)
	if t.redis, err = find("redis-server"); err != nil {
		return err
	}
	if t.benchmark, err = find("redis-benchmark"); err != nil {
		return err
	}
	return t.begin(func() error { return t.run(ctx) }, t.removeNamespaces)
}

// inNamespace returns the words before a program that runs in a namespace.
func inNamespace(name string) []string { return []string{"ip", "netns", "exec", name} }

func (t *nicTour) run(ctx context.Context) error {
	t.say("this is root: two namespaces joined by a veth, AF_XDP on one side and a stock kernel on the other")
	sum, err := t.prepare(ctx)
	if err != nil {
		return err
	}
	if err := t.startDaemon(ctx, "a"); err != nil {
		return err
	}
	s, err := t.client("a").Status()
	if err != nil {
		return err
	}
	t.say("host:  netcon up on %s, container web (%s, %s)", hostVTEP, webAddr, web6Addr)
	t.say("       %s", s.Underlay.Features)
	t.say("stock: the kernel's own vxlan device, 10.77.0.2, fd77::2")
	if err := t.startNginx(ctx); err != nil {
		return err
	}
	if err := t.serve(ctx, 6379, t.redis, "--port", "6379", "--bind", webAddr, "--save", "", "--protected-mode", "no", "--dir", t.dir); err != nil {
		return err
	}
	t.say("host:  stock nginx on port 80 and redis-server on port 6379 in container web")

	before, err := t.look(ctx)
	if err != nil {
		return err
	}
	if err := t.ping(ctx); err != nil {
		return err
	}
	for _, url := range urls {
		t.say("stock: curl %s", url)
		d, err := t.fetchWith(ctx, url, sum, inNamespace(t.stock)...)
		if err != nil {
			return err
		}
		t.sayRate(d)
	}
	if err := t.benchmarkRedis(ctx); err != nil {
		return err
	}
	after, err := t.look(ctx)
	if err != nil {
		return err
	}
	return t.prove(before, after)
}

// prepare makes the namespaces and writes the configurations, and returns the
// SHA-256 of the file that nginx serves.
func (t *nicTour) prepare(ctx context.Context) (sum string, err error) {
	// nginx's workers are another user.
	if err := os.Chmod(t.dir, 0o755); err != nil {
		return "", err
	}
	if sum, err = t.prepareNginx(); err != nil {
		return "", err
	}
	conf := t.configuration("a", fmt.Sprintf("kind = \"xdp\"\naddress = %q", hostVTEP), stockVTEP, "web", webAddr, web6Addr)
	if err := os.WriteFile(t.path("a.toml"), []byte(conf), 0o600); err != nil {
		return "", err
	}
	for _, line := range []string{
		"netns add " + t.host,
		"netns add " + t.stock,
		"-n " + t.host + " link set lo up",
		"-n " + t.host + " link add eth0 type veth peer name eth0 netns " + t.stock,
		"-n " + t.host + " addr add " + hostVTEP + "/24 dev eth0",
		"-n " + t.host + " link set eth0 up",
		"-n " + t.stock + " addr add " + stockVTEP + "/24 dev eth0",
		"-n " + t.stock + " link set eth0 up",
		"-n " + t.stock + " link add vx0 mtu 1450 type vxlan id 77 dstport 4789 local " + stockVTEP + " remote " + hostVTEP,
		"-n " + t.stock + " addr add 10.77.0.2/24 dev vx0",
		"-n " + t.stock + " addr add fd77::2/64 dev vx0 nodad",
		"-n " + t.stock + " link set vx0 up",
	} {
		if _, err := output(ctx, append([]string{"ip"}, strings.Fields(line)...)...); err != nil {
			return "", err
		}
	}
	return sum, nil
}

// removeNamespaces removes the namespaces that are there.
func (t *nicTour) removeNamespaces() error {
	var errs []error
	for _, name := range []string{t.host, t.stock} {
		if _, err := os.Stat("/run/netns/" + name); err == nil {
			_, err := output(context.Background(), "ip", "netns", "del", name)
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// output runs a program that ends soon.
func output(ctx context.Context, argv ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	out, err := exec.CommandContext(ctx, argv[0], argv[1:]...).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%s: %w: %s", strings.Join(argv, " "), err, strings.TrimSpace(string(out)))
	}
	return string(out), nil
}

// ping has the stock kernel ping the container.
func (t *nicTour) ping(ctx context.Context) error {
	for _, addr := range []string{webAddr, web6Addr} {
		out, err := output(ctx, append(inNamespace(t.stock), "ping", "-q", "-c", "20", "-i", "0.01", "-W", "2", addr)...)
		if err != nil {
			return err
		}
		t.say("stock: ping %s: %s", addr, firstMatch(out, `\d+ packets transmitted, \d+ received`))
	}
	return nil
}

// benchmarkRedis has the stock kernel's redis-benchmark ask the container's
// redis-server.
func (t *nicTour) benchmarkRedis(ctx context.Context) error {
	out, err := output(ctx, append(inNamespace(t.stock), t.benchmark, "-h", webAddr, "-q", "-n", "20000", "-t", "get")...)
	if err != nil {
		return err
	}
	t.say("stock: redis-benchmark -h %s -t get: %s", webAddr, firstMatch(out, `[\d.]+ requests per second`))
	return nil
}

// firstMatch returns the first part of text that matches expr.
func firstMatch(text, expr string) string {
	if m := regexp.MustCompile(expr).FindString(text); m != "" {
		return m
	}
	return strings.TrimSpace(text)
}
