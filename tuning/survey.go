// SPDX-License-Identifier: Apache-2.0

package tuning

import (
	"errors"
	"slices"
)

// Verdict says how a setting stands.
type Verdict string

// The verdicts.
const (
	OK          Verdict = "ok"
	Change      Verdict = "change"
	Manual      Verdict = "manual"
	Unavailable Verdict = "unavailable"
)

// Setting is one thing that stands between a host and speed, or does not.
type Setting struct {
	Name    string  `json:"name"`    // what it is, for people
	Knob    string  `json:"knob"`    // where it is; "" if no knob changes it
	Now     string  `json:"now"`     // what it holds
	Want    string  `json:"want"`    // what it should hold
	Verdict Verdict `json:"verdict"` //
	Reason  string  `json:"reason"`  // why it matters
	How     string  `json:"how"`     // the change by hand
	Problem string  `json:"problem"` // why it is unavailable
}

// survey collects settings.
type survey struct {
	*host
	cfg  Config
	list []Setting
}

// Survey compares this host with what cfg asks for. It changes nothing and needs
// no privilege; what it may not see it reports as unavailable.
func Survey(cfg Config) ([]Setting, error) {
	h, end, err := thisHost()
	if err != nil {
		return nil, err
	}
	defer end()
	return h.survey(cfg), nil
}

func (h *host) survey(cfg Config) []Setting {
	return append(h.early(cfg), h.late(cfg)...)
}

// early surveys what comes first.
func (h *host) early(cfg Config) []Setting {
	s := &survey{host: h, cfg: cfg}
	s.processors()
	s.memory()
	s.queues()
	s.offloads()
	return s.list
}

// late surveys what a change of queues resets.
func (h *host) late(cfg Config) []Setting {
	s := &survey{host: h, cfg: cfg}
	s.interrupts()
	s.timers()
	return s.list
}

// want compares a knob with one of the values that do; the first of them is what
// Apply would write.
func (s *survey) want(name string, k knob, how, reason string, values ...string) {
	now, err := k.get()
	x := Setting{Name: name, Knob: k.id, Now: now, Want: values[0], Reason: reason, How: how, Verdict: Change}
	switch {
	case err != nil:
		x.Verdict, x.Problem = Unavailable, err.Error()
		if errors.Is(err, errNoKnob) {
			x.Problem = errNoKnob.Error()
		}
	case slices.Contains(values, now):
		x.Want, x.Verdict = now, OK
	}
	s.list = append(s.list, x)
}

// advise reports what no knob changes.
func (s *survey) advise(ok bool, x Setting) {
	x.Verdict = Manual
	if ok {
		x.Verdict = OK
	}
	s.list = append(s.list, x)
}

// knob opens a knob whose id is a constant of this package.
func (s *survey) knob(id string) knob {
	k, err := s.open(id)
	if err != nil {
		fail := func() error { return err }
		return knob{id: id, get: func() (string, error) { return "", fail() }, set: func(string) error { return fail() }}
	}
	return k
}
