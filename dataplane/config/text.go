// SPDX-License-Identifier: Apache-2.0

package config

import (
	"net"
	"strconv"
	"strings"
	"time"

	"netcon/dataplane/wire"
)

// maxShown is how much of a value an error shows, in bytes.
const maxShown = 64

// shorten cuts a long value.
func shorten(s string) string {
	if len(s) <= maxShown {
		return s
	}
	return strings.ToValidUTF8(s[:maxShown], "") + "..."
}

// quote returns s as a quoted string on one line, shortened.
func quote(s string) string { return strconv.QuoteToASCII(shorten(s)) }

// quoteOr lists words: "a", "b" or "c".
func quoteOr(words []string) string {
	var b strings.Builder
	for i, w := range words {
		switch {
		case i > 0 && i == len(words)-1:
			b.WriteString(" or ")
		case i > 0:
			b.WriteString(", ")
		}
		b.WriteString(strconv.Quote(w))
	}
	return b.String()
}

// oneLine replaces what would break a line or a terminal.
func oneLine(s string) string {
	q := strconv.QuoteToASCII(s)
	return strings.ReplaceAll(q[1:len(q)-1], `\"`, `"`)
}

// sizeUnits are the units of a size, each 1024 times the one before.
var sizeUnits = [...]string{"B", "KiB", "MiB", "GiB", "TiB"}

// parseSize returns the bytes of a number with a unit.
func parseSize(s string) (int64, bool) {
	digits := strings.TrimRight(s, "BKMGTi ")
	unit := strings.TrimSpace(s[len(digits):])
	v, err := strconv.ParseInt(digits, 10, 64)
	if err != nil || v < 0 {
		return 0, false
	}
	for i, u := range sizeUnits {
		if u == unit {
			shifted := v << (10 * i)
			return shifted, shifted>>(10*i) == v
		}
	}
	return 0, false
}

// showSize returns n in the largest unit without a fraction.
func showSize(n int64) string {
	i := 0
	for n != 0 && n%1024 == 0 && i < len(sizeUnits)-1 {
		n, i = n/1024, i+1
	}
	return strconv.FormatInt(n, 10) + sizeUnits[i]
}

// showDuration returns d in ASCII.
func showDuration(d time.Duration) string { return strings.ReplaceAll(d.String(), "\u00b5", "u") }

// parseMAC returns a 48-bit address.
func parseMAC(s string) (wire.MAC, bool) {
	hw, err := net.ParseMAC(s)
	if err != nil || len(hw) != 6 {
		return wire.MAC{}, false
	}
	return wire.MAC(hw), true
}

// suggest returns the known word that a reader most probably meant, or nothing.
func suggest(word string, known []string) string {
	best, distance := "", 1+len(word)/3
	if len(word) > maxShown {
		return ""
	}
	for _, k := range known {
		if d := editDistance(word, k); d <= distance && (best == "" || d < distance) {
			best, distance = k, d
		}
	}
	return best
}

// editDistance counts the bytes to insert, delete or replace between a and b.
func editDistance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, diagonal+1)
		}
	}
	return row[len(b)]
}
