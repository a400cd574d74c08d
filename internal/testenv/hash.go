// SPDX-License-Identifier: Apache-2.0

package testenv

import (
	"crypto/sha256"
	"encoding/hex"
	"io"
	"math/rand/v2"
	"os"
	"testing"
)

// HashBytes returns the SHA-256 of b in hexadecimal.
func HashBytes(b []byte) string {
	h := sha256.Sum256(b)
	return hex.EncodeToString(h[:])
}

// HashReader returns the SHA-256 of everything r gives, and how much that was.
func HashReader(t testing.TB, r io.Reader) (sum string, n int64) {
	t.Helper()
	h := sha256.New()
	n, err := io.Copy(h, r)
	if err != nil {
		t.Fatalf("read to hash, after %d bytes: %v", n, err)
	}
	return hex.EncodeToString(h.Sum(nil)), n
}

// HashFile returns the SHA-256 of a file in hexadecimal.
func HashFile(t testing.TB, path string) string {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	sum, _ := HashReader(t, f)
	return sum
}

// RandomBytes returns n bytes that depend only on seed.
func RandomBytes(n int, seed byte) []byte {
	b := make([]byte, n)
	rand.NewChaCha8([32]byte{seed}).Read(b)
	return b
}

// RandomFile writes n bytes that depend only on seed, readable by anyone, and
// returns their hash.
func RandomFile(t testing.TB, path string, n int, seed byte) string {
	t.Helper()
	b := RandomBytes(n, seed)
	if err := os.WriteFile(path, b, 0o644); err != nil {
		t.Fatal(err)
	}
	return HashBytes(b)
}
