// Reads the identity headers of keyward, with net/http alone.
//
// They are true only if nothing but keyward can connect. So this listens on 127.0.0.1 (":3000" is
// all addresses), with keyward on the same machine or in the same pod. Elsewhere a network policy
// or a firewall must see to it: README.md, "Let nothing come past keyward".
package main

import (
	"fmt"
	"io"
	"log"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"time"
	"unicode/utf8"
)

var names = []string{"Subject", "Username", "Organization", "Role"}

// What keyward writes: visible ASCII, with the space, % and all else as %XX of their UTF-8.
var written = regexp.MustCompile(`^[!-~]*$`)

// one gives the value of a field that keyward sends once or, if the token does not say it, not at
// all: then it is empty.
func one(r *http.Request, name string) (string, error) {
	values := r.Header.Values(name) // Get would take the first of two
	if len(values) == 0 {
		return "", nil
	}
	value, err := url.PathUnescape(values[0]) // QueryUnescape changes "+"
	if len(values) > 1 || !written.MatchString(values[0]) || err != nil || !utf8.ValidString(value) {
		return "", fmt.Errorf("%s is not as keyward sends it", name)
	}
	return value, nil
}

type page func(w http.ResponseWriter, r *http.Request, caller map[string]string)

// identified reads who calls, which may be nobody, for a page that is got or posted to.
func identified(method string, next page) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		id, err := one(r, "X-Request-Id")
		caller := map[string]string{}
		for _, name := range names {
			if err == nil {
				caller[name], err = one(r, "X-Keyward-"+name)
			}
		}
		if err != nil { // of two values, none is guessed to be right
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		// The id leads to keyward's access log. %q escapes what a subject may hold.
		log.Printf("request_id=%s subject=%q", id, caller["Subject"])
		if r.Method != method { // Go 1.22 has patterns for it: "GET /whoami"
			w.Header().Set("Allow", method)
			http.Error(w, "this is for "+method, http.StatusMethodNotAllowed)
			return
		}
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		next(w, r, caller)
	}
}

// private is identified for a page that needs a caller.
func private(method string, next page) http.HandlerFunc {
	return identified(method, func(w http.ResponseWriter, r *http.Request, caller map[string]string) {
		if caller["Subject"] == "" { // keyward has a public route that leads here
			w.Header().Set("WWW-Authenticate", "Bearer")
			http.Error(w, "this needs a caller", http.StatusUnauthorized)
			return
		}
		next(w, r, caller)
	})
}

func whoami(w http.ResponseWriter, _ *http.Request, caller map[string]string) {
	if caller["Subject"] == "" {
		fmt.Fprintln(w, "nobody")
		return
	}
	for _, name := range names {
		if caller[name] != "" {
			fmt.Fprintf(w, "%s: %s\n", name, caller[name])
		}
	}
}

func report(w http.ResponseWriter, _ *http.Request, caller map[string]string) {
	if caller["Role"] != "admin" {
		http.Error(w, "this needs the role admin", http.StatusForbidden)
		return
	}
	fmt.Fprintf(w, "a report for %s\n", caller["Subject"])
}

func note(w http.ResponseWriter, r *http.Request, caller map[string]string) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 1<<20))
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	fmt.Fprintf(w, "%s wrote: %s\n", caller["Subject"], body)
}

func main() {
	port := os.Getenv("PORT")
	if port == "" {
		port = "3000"
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/whoami", private(http.MethodGet, whoami))
	mux.HandleFunc("/public/whoami", identified(http.MethodGet, whoami))
	mux.HandleFunc("/admin/report", private(http.MethodGet, report))
	mux.HandleFunc("/notes", private(http.MethodPost, note))
	server := &http.Server{
		Addr:    "127.0.0.1:" + port,
		Handler: mux,
		// Without it, a head may take for ever.
		ReadHeaderTimeout: 10 * time.Second,
	}
	log.Fatal(server.ListenAndServe())
}
