// SPDX-License-Identifier: Apache-2.0

// Package netcon_test holds the rules of the house: what style asks for and a
// compiler does not see.
package netcon_test

import (
	"bytes"
	"go/ast"
	"go/format"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"netcon/internal/testenv"
)

const module = "netcon/"

// floors says how high a package stands. It imports only packages on lower
// floors, never one on its own.
var floors = map[string]int{
	"bpf": 0, "shm": 0, "tuning": 0, "dataplane/wire": 0, "dataplane/stat": 0, "dataplane/stream": 0,
	"dataplane/frame": 1, "dataplane/fib": 1, "dataplane/neigh": 1, "dataplane/nexthop": 1, "dataplane/trace": 1, "dataplane/tcp": 1,
	"dataplane/datagram": 1, "dataplane/rtnetlink": 1,
	"dataplane/xsk": 2, "dataplane/udplink": 2, "dataplane/vxlan": 2, "dataplane/netstack": 2, "dataplane/socket": 2,
	"dataplane/launch": 2, "dataplane/hostnet": 2, "dataplane/resolve": 2,
	"dataplane/worker": 3, "dataplane/config": 3, "dataplane/supervise": 3,
	"dataplane":     4,
	"internal/demo": 5, "dataplane/container": 5, "bench": 5,
	"cmd/netcon": 6,
	"e2e":        7, "e2e/apps": 7, "e2e/litmus": 7, ".": 7,
}

// aside are packages that the product does not import. Only tests, and their
// own commands, import them; they import the given floor at most.
var aside = map[string]int{
	"internal/testenv":     0,
	"internal/packetdrill": 1,
	"internal/tcpsim":      2,
	"internal/tcphost":     1,
	"internal/gotally":     -1,
}

// onlyImports names all that some packages may import from outside the standard
// library: what has to stay pure, or small.
var onlyImports = map[string][]string{
	"dataplane/wire":     nil,
	"dataplane/stat":     nil,
	"dataplane/stream":   nil,
	"dataplane/fib":      {"netcon/"},
	"dataplane/neigh":    {"netcon/"},
	"dataplane/datagram": {"netcon/"},
	"dataplane/vxlan":    {"netcon/"},
	"dataplane/config":   {"netcon/dataplane/wire", "github.com/pelletier/go-toml/v2"},
	"shm":                nil,
	"internal/gotally":   nil,
}

// generated names every generated file and how it is made again: the command
// line, which is run in a copy of the file's directory and prints the file.
var generated = map[string][]string{
	"shm/abi_types.go": {"go", "tool", "cgo", "-godefs", "abi_godefs.go"},
}

// byGenerate names every package whose generated files, objects included, come
// from its go:generate line, and the programs that line runs.
var byGenerate = map[string][]string{
	"bpf": {"clang-19", "llvm-strip-19"},
}

// goFile is one Go file of the tree.
type goFile struct {
	path, pkg string // slash-separated, below the root; pkg is its directory
	text      []byte
	ast       *ast.File
	test      bool
	generated bool
	ignored   bool // //go:build ignore
}

var (
	generatedLine = regexp.MustCompile(`(?m)^// Code generated .* DO NOT EDIT\.$`)
	ignoreLine    = regexp.MustCompile(`(?m)^//go:build ignore\b`)
)

// files returns every file of the tree, slash-separated, in order. What the
// build leaves behind and what belongs to git is not part of it.
func files(t *testing.T) []string {
	t.Helper()
	var list []string
	err := filepath.WalkDir(".", func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && (name == ".git" || name == "build" || name == ".cache"):
			return filepath.SkipDir
		case d.Type().IsRegular():
			list = append(list, filepath.ToSlash(name))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// goFiles returns the parsed Go files of the tree.
func goFiles(t *testing.T) []*goFile {
	t.Helper()
	var list []*goFile
	for _, name := range files(t) {
		if path.Ext(name) != ".go" || strings.Contains(name, "testdata/") {
			continue
		}
		f := &goFile{path: name, pkg: path.Dir(name), text: read(t, name), test: strings.HasSuffix(name, "_test.go")}
		var err error
		f.ast, err = parser.ParseFile(token.NewFileSet(), name, f.text, parser.ParseComments)
		if err != nil {
			t.Error(err)
			continue
		}
		head := f.text[:min(len(f.text), 512)]
		f.generated, f.ignored = generatedLine.Match(head), ignoreLine.Match(head)
		list = append(list, f)
	}
	if len(list) == 0 {
		t.Fatal("no Go files: not run in the root of the repository")
	}
	return list
}

// imports returns the import paths of f.
func (f *goFile) imports() []string {
	var list []string
	for _, spec := range f.ast.Imports {
		p, _ := strconv.Unquote(spec.Path.Value)
		list = append(list, p)
	}
	return list
}

func read(t *testing.T, name string) []byte {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// asideOf returns the entry of aside that pkg belongs to.
func asideOf(pkg string) (string, bool) {
	for a := range aside {
		if pkg == a || strings.HasPrefix(pkg, a+"/") {
			return a, true
		}
	}
	return "", false
}

func TestImportFloors(t *testing.T) {
	for _, f := range goFiles(t) {
		if f.ignored {
			continue
		}
		group, isAside := asideOf(f.pkg)
		floor, known := floors[f.pkg]
		if !known && !isAside {
			t.Errorf("%s: package %s has no floor: add it to the table", f.path, f.pkg)
			continue
		}
		for _, imp := range f.imports() {
			dep, ours := strings.CutPrefix(imp, module)
			if !ours {
				continue
			}
			if depGroup, ok := asideOf(dep); ok {
				if !f.test && depGroup != group {
					t.Errorf("%s imports %s: that is for _test files", f.path, imp)
				}
				continue
			}
			depFloor, ok := floors[dep]
			switch {
			case !ok:
				t.Errorf("%s imports %s, which has no floor", f.path, imp)
			case isAside:
				if depFloor > aside[group] {
					t.Errorf("%s imports %s: %s uses floor %d at most", f.path, imp, group, aside[group])
				}
			case f.test && dep == f.pkg:
			case f.test && depFloor > floor, !f.test && depFloor >= floor:
				t.Errorf("%s (floor %d) imports %s (floor %d)", f.path, floor, imp, depFloor)
			}
		}
	}
}

func TestPureImports(t *testing.T) {
	for _, f := range goFiles(t) {
		allowed, ok := onlyImports[f.pkg]
		if !ok || f.test || f.ignored {
			continue
		}
		for _, imp := range f.imports() {
			first, _, _ := strings.Cut(imp, "/")
			std := !strings.Contains(first, ".") && first != strings.TrimSuffix(module, "/")
			if !std && !slices.ContainsFunc(allowed, func(a string) bool { return strings.HasPrefix(imp, a) }) {
				t.Errorf("%s imports %s: beside the standard library only %q", f.path, imp, allowed)
			}
		}
	}
}

func TestUnsafe(t *testing.T) {
	for _, f := range goFiles(t) {
		named := strings.HasSuffix(strings.TrimSuffix(strings.TrimSuffix(f.path, ".go"), "_test"), "_unsafe")
		if slices.Contains(f.imports(), "unsafe") && !named && !f.generated {
			t.Errorf("%s imports unsafe: only *_unsafe.go does", f.path)
		}
	}
}

func TestPackageComments(t *testing.T) {
	// The comment is not in a test, unless there is nothing but tests.
	code := map[string]bool{}
	for _, f := range goFiles(t) {
		code[f.pkg] = code[f.pkg] || !f.test
	}
	docs, packages := map[string][]string{}, map[string]string{}
	for _, f := range goFiles(t) {
		if f.ignored || f.test && code[f.pkg] {
			continue
		}
		packages[f.pkg] = f.ast.Name.Name
		if f.ast.Doc == nil {
			continue
		}
		docs[f.pkg] = append(docs[f.pkg], f.path)
		want := "Package " + f.ast.Name.Name + " "
		if f.ast.Name.Name == "main" {
			want = path.Base(f.pkg) + " "
		}
		text := strings.TrimPrefix(f.ast.Doc.Text(), "Command ")
		if len(text) < len(want) || !strings.EqualFold(text[:len(want)], want) {
			t.Errorf("%s: the package comment does not start with %q", f.path, want)
		}
	}
	for pkg, name := range packages {
		if len(docs[pkg]) != 1 {
			t.Errorf("package %s in %s has %d package comments, want one: %q", name, pkg, len(docs[pkg]), docs[pkg])
		}
	}
}

func TestLicenceLine(t *testing.T) {
	const (
		id = "SPDX-License-Identifier: Apache-2.0"
		// What runs in the kernel is also offered under the kernel's licence.
		kernelID = "SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0)"
	)
	for _, name := range files(t) {
		var want string
		switch ext := path.Ext(name); {
		case path.Dir(name) == "bpf" && (ext == ".c" || ext == ".h"):
			want = "/* " + kernelID + " */"
		case ext == ".go":
			want = "// " + id
		case ext == ".c" || ext == ".h":
			want = "/* " + id + " */"
		case ext == ".sh" || name == ".ci/run":
			want = "# " + id
		default:
			continue
		}
		text := read(t, name)
		if generatedLine.Match(text[:min(len(text), 512)]) {
			continue
		}
		if bytes.HasPrefix(text, []byte("#!")) {
			_, text, _ = bytes.Cut(text, []byte("\n"))
		}
		if first, _, _ := bytes.Cut(text, []byte("\n")); string(first) != want {
			t.Errorf("%s: first line %q, want %q", name, first, want)
		}
	}
}

func TestGofmt(t *testing.T) {
	for _, f := range goFiles(t) {
		if want, err := format.Source(f.text); err != nil {
			t.Error(err)
		} else if !bytes.Equal(f.text, want) {
			t.Errorf("%s is not formatted (make fmt)", f.path)
		}
	}
}

func TestFileSize(t *testing.T) {
	const most = 800
	for _, name := range files(t) {
		ext := path.Ext(name)
		test := strings.HasSuffix(name, "_test.go") || strings.Contains(name, "/test/")
		if test || ext != ".go" && ext != ".c" && ext != ".h" {
			continue
		}
		text := read(t, name)
		if lines := bytes.Count(text, []byte("\n")); lines > most && !generatedLine.Match(text[:min(len(text), 512)]) {
			t.Errorf("%s has %d lines, at most %d: split it by event, not by size", name, lines, most)
		}
	}
}

func TestModules(t *testing.T) {
	for _, name := range []string{"go.mod", "tools/go.mod"} {
		for line := range strings.Lines(string(read(t, name))) {
			if fields := strings.Fields(line); len(fields) > 0 && fields[0] == "replace" {
				t.Errorf("%s: %s", name, strings.TrimSpace(line))
			}
		}
	}
}

// Needs gcc, which cgo asks for the layout of C types.
func TestGeneratedFiles(t *testing.T) {
	for _, f := range goFiles(t) {
		if f.generated && generated[f.path] == nil && byGenerate[f.pkg] == nil {
			t.Errorf("%s is generated, and the table does not know how", f.path)
		}
	}
	if _, err := exec.LookPath("gcc"); err != nil {
		t.Fatalf("cannot make generated files again: %v (make deps)", err)
	}
	for name, command := range generated {
		dir := t.TempDir()
		if err := os.CopyFS(dir, os.DirFS(path.Dir(name))); err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command(command[0], command[1:]...)
		cmd.Dir = dir
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		text, err := cmd.Output()
		if err != nil {
			t.Errorf("make %s again: %v\n%s", name, err, stderr.Bytes())
			continue
		}
		if text, err = format.Source(text); err != nil {
			t.Errorf("make %s again: %v", name, err)
			continue
		}
		if !bytes.Equal(text, read(t, name)) {
			t.Errorf("%s is not what %q makes (make generate)", name, command)
		}
	}
}

// Makes them again in a copy of the package, with nothing generated in it, and
// wants the same files with the same bytes.
func TestGeneratedObjects(t *testing.T) {
	for pkg, tools := range byGenerate {
		testenv.NeedTools(t, tools...)
		dir := t.TempDir()
		for _, name := range []string{"go.mod", "tools/go.mod", "tools/go.sum"} {
			copyFile(t, name, filepath.Join(dir, name))
		}
		committed := map[string][]byte{}
		for _, name := range files(t) {
			if path.Dir(name) != pkg {
				continue
			}
			text := read(t, name)
			if path.Ext(name) == ".o" || path.Ext(name) == ".go" && generatedLine.Match(text[:min(len(text), 512)]) {
				committed[path.Base(name)] = text
			} else {
				copyFile(t, name, filepath.Join(dir, name))
			}
		}
		before, err := os.ReadDir(filepath.Join(dir, pkg))
		if err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command("go", "generate", "./"+pkg)
		cmd.Dir = dir
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("go generate ./%s: %v\n%s", pkg, err, out)
			continue
		}
		after, err := os.ReadDir(filepath.Join(dir, pkg))
		if err != nil {
			t.Fatal(err)
		}
		if made := len(after) - len(before); made != len(committed) || made == 0 {
			t.Errorf("go generate ./%s makes %d files, %d are committed", pkg, made, len(committed))
		}
		for name, want := range committed {
			if got, err := os.ReadFile(filepath.Join(dir, pkg, name)); err != nil || !bytes.Equal(got, want) {
				t.Errorf("%s/%s is not what go generate makes (make generate): %v", pkg, name, err)
			}
		}
	}
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(to, read(t, from), 0o644); err != nil {
		t.Fatal(err)
	}
}

// The packet path in dataplane/doc.go is a promise that the file list can be
// read along: indented lines that start with a file's path.
func TestPacketPath(t *testing.T) {
	line := regexp.MustCompile(`^//\t([\w./-]+/[\w.-]+\.\w+)\b`)
	found := 0
	for text := range strings.Lines(string(read(t, "dataplane/doc.go"))) {
		m := line.FindStringSubmatch(text)
		if m == nil {
			continue
		}
		found++
		if _, err := os.Stat(m[1]); err != nil {
			t.Errorf("dataplane/doc.go names %s: %v", m[1], err)
		}
	}
	if found < 5 {
		t.Errorf("dataplane/doc.go names %d files of the packet path", found)
	}
}

// Nothing in the tree may depend on where it was written.
func TestNoForeignPaths(t *testing.T) {
	foreign := []string{"/" + "work/", "/" + "root/"}
	for _, name := range files(t) {
		text := read(t, name)
		if bytes.IndexByte(text, 0) >= 0 {
			continue // not text
		}
		for i, line := range bytes.Split(text, []byte("\n")) {
			for _, f := range foreign {
				if bytes.Contains(line, []byte(f)) {
					t.Errorf("%s:%d mentions %s", name, i+1, f)
				}
			}
		}
	}
}

func TestDocumentLinks(t *testing.T) {
	link := regexp.MustCompile(`\]\(<?([^)\s>]+)>?[^)]*\)`)
	for _, name := range files(t) {
		if path.Ext(name) != ".md" {
			continue
		}
		for _, m := range link.FindAllStringSubmatch(withoutCode(string(read(t, name))), -1) {
			target, anchor, _ := strings.Cut(m[1], "#")
			if strings.Contains(target, ":") {
				continue // another site
			}
			file := name
			if target != "" {
				file = path.Join(path.Dir(name), target)
			}
			if _, err := os.Stat(file); err != nil {
				t.Errorf("%s links to %s: %v", name, m[1], err)
				continue
			}
			if anchor != "" && path.Ext(file) == ".md" && !slices.Contains(anchors(string(read(t, file))), anchor) {
				t.Errorf("%s links to %s: there is no such heading", name, m[1])
			}
		}
	}
	if _, err := os.Stat("README.md"); err != nil {
		t.Error(err)
	}
}

// withoutCode removes fenced blocks from a Markdown text.
func withoutCode(text string) string {
	var b strings.Builder
	fenced := false
	for line := range strings.Lines(text) {
		if strings.HasPrefix(strings.TrimSpace(line), "```") {
			fenced = !fenced
		} else if !fenced {
			b.WriteString(line)
		}
	}
	return b.String()
}

// anchors returns what a Markdown text's headings are called in links.
func anchors(text string) []string {
	var list []string
	for line := range strings.Lines(withoutCode(text)) {
		title := strings.TrimLeft(line, "#")
		if title == line || !strings.HasPrefix(title, " ") {
			continue
		}
		slug := strings.Map(func(r rune) rune {
			switch {
			case r == ' ':
				return '-'
			case r == '-' || r == '_' || r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r > 0x7f:
				return r
			}
			return -1
		}, strings.ToLower(strings.TrimSpace(title)))
		list = append(list, slug)
	}
	return list
}

// https://keepachangelog.com/en/1.1.0/
func TestChangelog(t *testing.T) {
	release := regexp.MustCompile(`^## (\[Unreleased\]|\[\d+\.\d+\.\d+\] - \d{4}-\d{2}-\d{2})$`)
	kind := regexp.MustCompile(`^### (Added|Changed|Deprecated|Removed|Fixed|Security)$`)
	lines := strings.Split(string(read(t, "CHANGELOG.md")), "\n")
	releases := 0
	for i, line := range lines {
		switch {
		case i == 0 && line != "# Changelog":
			t.Errorf("CHANGELOG.md:1: %q, want \"# Changelog\"", line)
		case strings.HasPrefix(line, "## "):
			releases++
			if !release.MatchString(line) {
				t.Errorf("CHANGELOG.md:%d: %q is neither [Unreleased] nor [1.2.3] - 2026-01-31", i+1, line)
			}
		case strings.HasPrefix(line, "### "):
			if !kind.MatchString(line) || releases == 0 {
				t.Errorf("CHANGELOG.md:%d: %q is not a kind of change below a release", i+1, line)
			}
		}
	}
	if releases == 0 {
		t.Error("CHANGELOG.md has no release and no [Unreleased]")
	}
}

func TestMakefileHelp(t *testing.T) {
	target := regexp.MustCompile(`^([A-Za-z0-9][\w./ -]*):([^=].*)?$`)
	help := regexp.MustCompile(`## \S`)
	found := 0
	for i, line := range strings.Split(string(read(t, "Makefile")), "\n") {
		if m := target.FindStringSubmatch(line); m != nil {
			found++
			if !help.MatchString(m[2]) {
				t.Errorf("Makefile:%d: target %s has no \"## help\"", i+1, m[1])
			}
		}
	}
	if found == 0 {
		t.Error("Makefile has no targets")
	}
}
