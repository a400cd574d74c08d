// SPDX-License-Identifier: Apache-2.0

package tuning

import (
	"fmt"
	"slices"
)

// Result is what became of one knob.
type Result struct {
	Name    string `json:"name"`
	Knob    string `json:"knob"`
	Before  string `json:"before"`
	After   string `json:"after"`
	Problem string `json:"problem"` // why it was refused or left alone; "": done
}

// Apply changes every setting whose verdict is Change, and writes down in the
// state file what it held. progress, which may be nil, hears of each result. What
// is refused does not keep the rest from being applied.
func Apply(cfg Config, statePath string, progress func(Result)) ([]Result, error) {
	h, end, err := thisHost()
	if err != nil {
		return nil, err
	}
	defer end()
	return h.apply(cfg, statePath, progress)
}

func (h *host) apply(cfg Config, statePath string, progress func(Result)) (results []Result, err error) {
	st, err := h.openState(statePath)
	if err != nil {
		return nil, err
	}
	defer st.close()
	for _, phase := range []func(Config) []Setting{h.early, h.late} {
		for _, s := range phase(cfg) {
			if s.Verdict != Change {
				continue
			}
			r, err := h.change(st, s)
			if err != nil {
				return results, err
			}
			results = append(results, r)
			if progress != nil {
				progress(r)
			}
		}
	}
	return results, nil
}

// change writes one knob, after it was written down.
func (h *host) change(st *state, s Setting) (Result, error) {
	r := Result{Name: s.Name, Knob: s.Knob, Before: s.Now, After: s.Want}
	k, err := h.open(s.Knob)
	if err != nil {
		return r, err
	}
	i := st.find(s.Knob)
	fresh := i < 0
	if fresh {
		i = len(st.Saved)
		st.Saved = append(st.Saved, Saved{Name: s.Name, Knob: s.Knob, Before: s.Now})
	}
	was := st.Saved[i].After
	st.Saved[i].After = s.Want
	if err := st.write(); err != nil {
		return r, err
	}
	if err := k.set(s.Want); err != nil {
		r.After, r.Problem = s.Now, fmt.Sprintf("write %s: %v", s.Want, err)
		if fresh {
			st.Saved = slices.Delete(st.Saved, i, i+1)
		} else {
			st.Saved[i].After = was
		}
		return r, st.write()
	}
	if now, err := k.get(); err == nil && now != s.Want {
		// The kernel rounds some values. Revert has to know what it will find.
		r.After, st.Saved[i].After = now, now
		return r, st.write()
	}
	return r, nil
}

// Revert puts back what Apply changed, last first, and forgets it. A knob that
// holds something else than what Apply wrote was changed by somebody since: it
// is left alone unless force says otherwise, and so is one that refuses; both
// stay in the state file.
func Revert(statePath string, force bool, progress func(Result)) ([]Result, error) {
	h, end, err := thisHost()
	if err != nil {
		return nil, err
	}
	defer end()
	return h.revert(statePath, force, progress)
}

func (h *host) revert(statePath string, force bool, progress func(Result)) (results []Result, err error) {
	st, err := h.openState(statePath)
	if err != nil {
		return nil, err
	}
	defer st.close()
	for i := len(st.Saved) - 1; i >= 0; i-- {
		r := h.restore(st.Saved[i], force)
		results = append(results, r)
		if r.Problem == "" {
			st.Saved = slices.Delete(st.Saved, i, i+1)
			if err := st.write(); err != nil {
				return results, err
			}
		}
		if progress != nil {
			progress(r)
		}
	}
	return results, st.write()
}

// restore puts one knob back.
func (h *host) restore(s Saved, force bool) Result {
	r := Result{Name: s.Name, Knob: s.Knob, Before: s.After, After: s.Before}
	k, err := h.open(s.Knob)
	if err != nil {
		r.Problem = err.Error()
		return r
	}
	now, err := k.get()
	switch {
	case err != nil:
		r.Problem = fmt.Sprintf("read: %v", err)
		return r
	case now == s.Before:
		return r
	case now != s.After && !force:
		r.Before, r.After, r.Problem = now, now, fmt.Sprintf("somebody changed it from %s to %s since (-force puts %s back)", s.After, now, s.Before)
		return r
	}
	if err := k.set(s.Before); err != nil {
		r.Before, r.After, r.Problem = now, now, fmt.Sprintf("write %s: %v", s.Before, err)
	}
	return r
}
