// SPDX-License-Identifier: Apache-2.0

// Package tuning reads and changes what stands between a host and speed, and
// undoes it.
//
// # Theory of operation
//
// A knob is one value of the host that can be read and written: a file below
// /sys or /proc, or a property of a network device that ethtool shows. Survey
// compares the knobs that matter for a configuration with what they should be:
//
//	ok           it is as it should be
//	change       Apply would change it
//	manual       a person has to decide or do it: it needs a reboot, or others
//	             would notice
//	unavailable  this host does not have it, or does not show it to us
//
// Apply writes down what a knob holds before it writes to it, so that Revert can
// put everything back, also after a crash half way. The state file lies on a file
// system that a reboot empties, as it does the knobs. A knob that somebody else
// changed since is left alone, unless Revert is told otherwise.
//
// Queues come first: changing their number makes a device forget interrupts and
// timers. So Apply surveys twice, and Revert goes backwards.
//
// PinThread binds a worker to its core.
//
// # Concurrency
//
// Survey may run at any time. Apply and Revert exclude each other by a lock on
// the state file.
//
// # Limits
//
// A knob's value is at most 4 KiB. Interrupts are found through the device's
// msi_irqs directory. Devices below a bond or a bridge are not looked for: name
// the device that carries the frames.
//
// # Not supported
//
// Boot parameters (isolcpus, C-states): they are shown, not changed. Stopping
// irqbalance, which moves interrupts back.
//
// # References
//
// Kernel Documentation/networking/napi.rst (deferred interrupts),
// Documentation/networking/scaling.rst (queues, flow hash),
// Documentation/admin-guide/kernel-parameters.txt; ethtool(8).
package tuning
