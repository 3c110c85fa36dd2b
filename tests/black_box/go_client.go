// Go's net/http and x/net/http2 as clients. Each check is made in every way: HTTP/1.1 in clear and over
// TLS, HTTP/2 in clear (by prior knowledge) and over TLS. Every failure is said; the exit status is 1 then.
//
// usage: go_client CLEAR CLEAR_HTTP2 TLS CA_FILE TOKEN CHECK,… UPSTREAM=PROTO…
// UPSTREAM is the first segment of the path, PROTO what its server should be asked in. CHECK is a name
// below, or "all".
package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/net/http2"
)

const patience = 10 * time.Second

var (
	token, upstream, proto string
	mebibyte               = bytes.Repeat([]byte("0123456789abcdef"), 1<<16)
	// As long as a whole request may take: who is not told to go on never does.
	expectPatience = patience
	upload         = bytes.Repeat([]byte("x"), 20<<20)
)

// A way to keyward: one client with connections of its own.
type way struct {
	name, origin, proto string
	client              *http.Client
	dialed              *int64
}

type seen struct {
	Method, Path, Host, Proto, Sha256, Connection, Fault string
	Fields                                               http.Header
	Length, Announced                                    int64
}

func main() {
	clear, clearHTTP2, secure := os.Args[1], os.Args[2], os.Args[3]
	token = os.Args[5]
	pem, err := os.ReadFile(os.Args[4])
	if err != nil {
		log.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	if given, err := time.ParseDuration(os.Getenv("EXPECT_PATIENCE")); err == nil {
		expectPatience = given
	}
	makers := []func() *way{
		func() *way { return http1("HTTP/1.1 in clear", "http://localhost:"+clear, roots) },
		func() *way { return http1("HTTP/1.1 over TLS", "https://localhost:"+secure, roots) },
		func() *way { return http2Clear("HTTP/2 in clear", "http://localhost:"+clearHTTP2) },
		func() *way { return http2Secure("HTTP/2 over TLS", "https://localhost:"+secure, roots) },
	}
	checks := []struct {
		name string
		run  func(*way) error
	}{
		{"get", get}, {"post", post}, {"trailers", trailers}, {"trailers_down", trailersDown},
		{"trailers_unasked", trailersUnasked}, {"expect", expect1},
		{"expect_refused", expectRefused}, {"reuse", reuse}, {"parallel", parallel}, {"parallel_large", parallelLarge},
		{"cancel", cancelled}, {"cancel_stream", cancelledStream}, {"cancel_upload", cancelledUpload},
		{"deadline", deadline}, {"unauthorized", unauthorized}, {"early_refusal", earlyRefusal},
		{"too_large", tooLarge}, {"too_large_again", tooLargeAgain}, {"gzip", gzipped}, {"head", head},
		{"redirect", redirect}, {"ranges", ranges}, {"early_hints", earlyHints}, {"goodbye", goodbye}, {"abort", aborted},
		{"abort_at_once", abortedAtOnce}, {"parallel_get", parallelGet}, {"close", closing}, {"fields", fields}, {"chat", chat},
	}
	failed := false
	for _, chosen := range strings.Split(os.Args[6], ",") {
		known := false
		for _, check := range checks {
			if chosen != check.name && chosen != "all" {
				continue
			}
			known = true
			for _, asked := range os.Args[7:] {
				upstream, proto, _ = strings.Cut(asked, "=")
				for _, make := range makers {
					way := make()
					began := time.Now()
					if err := check.run(way); err != nil {
						failed = true
						fmt.Fprintf(os.Stderr, "%s, %s, %s: %v\n", check.name, way.name, upstream, err)
					} else {
						fmt.Printf("%s, %s, %s: %.2f s\n", check.name, way.name, upstream, time.Since(began).Seconds())
					}
					way.client.CloseIdleConnections()
				}
			}
		}
		if !known {
			log.Fatalf("there is no check %q", chosen)
		}
	}
	if failed {
		os.Exit(1)
	}
}

func counted(dialed *int64) func(context.Context, string, string) (net.Conn, error) {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		atomic.AddInt64(dialed, 1)
		return new(net.Dialer).DialContext(ctx, "tcp4", address)
	}
}

func transport(dialed *int64, roots *x509.CertPool) *http.Transport {
	return &http.Transport{
		DialContext:           counted(dialed),
		TLSClientConfig:       &tls.Config{RootCAs: roots},
		ExpectContinueTimeout: expectPatience,
		MaxIdleConnsPerHost:   100,
	}
}

func client(transport http.RoundTripper) *http.Client {
	return &http.Client{Transport: transport, Timeout: patience}
}

func http1(name, origin string, roots *x509.CertPool) *way {
	dialed := new(int64)
	made := transport(dialed, roots)
	// Not nil: no HTTP/2 by ALPN.
	made.TLSNextProto = map[string]func(string, *tls.Conn) http.RoundTripper{}
	return &way{name, origin, "HTTP/1.1", client(made), dialed}
}

func http2Secure(name, origin string, roots *x509.CertPool) *way {
	dialed := new(int64)
	made := transport(dialed, roots)
	made.ForceAttemptHTTP2 = true
	return &way{name, origin, "HTTP/2.0", client(made), dialed}
}

func http2Clear(name, origin string) *way {
	dialed := new(int64)
	// The HTTP/2 transport takes its patience with Expect from the one that it is made of.
	made, err := http2.ConfigureTransports(transport(dialed, nil))
	if err != nil {
		log.Fatal(err)
	}
	made.AllowHTTP = true
	made.ConnPool = nil
	dial := counted(dialed)
	made.DialTLS = func(network, address string, _ *tls.Config) (net.Conn, error) {
		return dial(context.Background(), network, address)
	}
	return &way{name, origin, "HTTP/2.0", client(made), dialed}
}

func (w *way) url(kind string) string { return w.origin + "/" + upstream + "/" + kind }

// A path that no other request has.
func (w *way) own(kind string) string {
	return w.url(kind) + "/" + strings.ReplaceAll(strings.ReplaceAll(w.name, " ", "-"), "/", "")
}

func (w *way) request(method, url string, body io.Reader) *http.Request {
	made, err := http.NewRequest(method, url, body)
	if err != nil {
		log.Fatal(err)
	}
	made.Header.Set("Authorization", "Bearer "+token)
	return made
}

// The answer and its whole body.
func (w *way) ask(request *http.Request) (*http.Response, []byte, error) {
	answer, err := w.client.Do(request)
	if err != nil {
		return nil, nil, err
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		return answer, body, fmt.Errorf("status %d, then in the body after %d bytes: %w", answer.StatusCode, len(body), err)
	}
	if answer.Proto != w.proto {
		return answer, body, fmt.Errorf("answered in %s", answer.Proto)
	}
	return answer, body, nil
}

func (w *way) echo(request *http.Request) (said seen, err error) {
	answer, body, err := w.ask(request)
	if err != nil {
		return said, err
	}
	if answer.StatusCode != 200 {
		return said, fmt.Errorf("status %d: %.300s", answer.StatusCode, body)
	}
	if err := json.Unmarshal(body, &said); err != nil {
		return said, fmt.Errorf("%v: %.300s", err, body)
	}
	if said.Fault != "" {
		return said, fmt.Errorf("the upstream's reading of the body failed: %s", said.Fault)
	}
	return said, nil
}

func digest(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

// Hides what a reader is, so that its length is not known.
type unknown struct{ io.Reader }

// Counts what is read.
type counting struct {
	io.Reader
	read int64
}

func (c *counting) Read(into []byte) (int, error) {
	n, err := c.Reader.Read(into)
	atomic.AddInt64(&c.read, int64(n))
	return n, err
}

func get(w *way) error {
	said, err := w.echo(w.request("GET", w.url("x?y=1&z=%20"), nil))
	if err != nil {
		return err
	}
	if said.Method != "GET" || said.Path != "/"+upstream+"/x?y=1&z=%20" || said.Length != 0 || said.Proto != proto {
		return fmt.Errorf("the upstream saw %+v", said)
	}
	answer, body, err := w.ask(w.request("GET", w.url("large"), nil))
	if err != nil {
		return err
	}
	if answer.StatusCode != 200 || len(body) != 10<<20 || answer.ContentLength != 10<<20 {
		return fmt.Errorf("large: %d, %d bytes, length %d", answer.StatusCode, len(body), answer.ContentLength)
	}
	answer, body, err = w.ask(w.request("GET", w.url("nothing"), nil))
	if err != nil {
		return err
	}
	if answer.StatusCode != 204 || len(body) != 0 {
		return fmt.Errorf("nothing: %d, %d bytes", answer.StatusCode, len(body))
	}
	return nil
}

func post(w *way) error {
	for _, data := range [][]byte{{}, []byte("a"), mebibyte, upload} {
		for _, known := range []bool{true, false} {
			var body io.Reader = bytes.NewReader(data)
			announced := int64(len(data))
			if !known {
				body, announced = unknown{body}, -1
			}
			said, err := w.echo(w.request("POST", w.url("x"), body))
			if err != nil {
				return fmt.Errorf("%d bytes, length known %v: %w", len(data), known, err)
			}
			if said.Length != int64(len(data)) || said.Sha256 != digest(data) {
				return fmt.Errorf("%d bytes, length known %v: the upstream saw %d bytes", len(data), known, said.Length)
			}
			if len(data) > 0 && said.Announced != announced {
				return fmt.Errorf("%d bytes, length known %v: the upstream was told %d", len(data), known, said.Announced)
			}
		}
	}
	return nil
}

func trailersWith(w *way, te string) (announced int, got http.Header, err error) {
	request := w.request("GET", w.url("trailers"), nil)
	if te != "" {
		request.Header.Set("TE", te)
	}
	answer, err := w.client.Do(request)
	if err != nil {
		return 0, nil, err
	}
	defer answer.Body.Close()
	announced = len(answer.Trailer)
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		return announced, nil, fmt.Errorf("%d bytes, then %w", len(body), err)
	}
	if len(body) != 29000 {
		return announced, nil, fmt.Errorf("%d bytes of body", len(body))
	}
	return announced, answer.Trailer, nil
}

// Those that were announced; in HTTP/2 all.
func trailers(w *way) error {
	if w.proto == "HTTP/1.1" && proto == "HTTP/2.0" {
		return nil
	}
	return trailersOf(w)
}

// Of a server that is asked in HTTP/2, for a client of HTTP/1.1.
func trailersDown(w *way) error {
	if w.proto == "HTTP/1.1" && proto == "HTTP/2.0" {
		return trailersOf(w)
	}
	return nil
}

func trailersOf(w *way) error {
	announced, got, err := trailersWith(w, "trailers")
	if err != nil {
		return err
	}
	if got.Get("X-Sum") != "4950" || w.proto == "HTTP/2.0" && got.Get("X-Late") != "yes" {
		return fmt.Errorf("announced %d, then came %v", announced, got)
	}
	return nil
}

// In HTTP/1.1 trailers are for those alone that ask for them, and Go does not by itself. In HTTP/2 they come always.
func trailersUnasked(w *way) error {
	announced, got, err := trailersWith(w, "")
	if err != nil {
		return err
	}
	if w.proto == "HTTP/1.1" && (announced != 0 || len(got) != 0) || w.proto == "HTTP/2.0" && got.Get("X-Sum") != "4950" {
		return fmt.Errorf("announced %d, then came %v", announced, got)
	}
	return nil
}

func expect1(w *way) error {
	if w.proto == "HTTP/1.1" {
		return expect(w)
	}
	return nil
}

func expect(w *way) error {
	for _, known := range []bool{true, false} {
		for repeat := 0; repeat < 2; repeat++ {
			var waited, continued int32
			trace := &httptrace.ClientTrace{
				Wait100Continue: func() { atomic.AddInt32(&waited, 1) },
				Got100Continue:  func() { atomic.AddInt32(&continued, 1) },
			}
			var body io.Reader = bytes.NewReader(mebibyte)
			if !known {
				body = unknown{body}
			}
			request := w.request("POST", w.url("x"), body)
			request = request.WithContext(httptrace.WithClientTrace(request.Context(), trace))
			request.Header.Set("Expect", "100-continue")
			began := time.Now()
			said, err := w.echo(request)
			if err != nil {
				return fmt.Errorf("length known %v, after %v: %w", known, time.Since(began), err)
			}
			if said.Sha256 != digest(mebibyte) {
				return fmt.Errorf("the upstream saw %d bytes", said.Length)
			}
			if waited != 1 || continued != 1 || time.Since(began) > patience/2 {
				return fmt.Errorf("length known %v: waited %d times, got 100 %d times, %v in all", known, waited, continued, time.Since(began))
			}
		}
	}
	return nil
}

// Who is refused sends nothing of a body for which it would wait for 100.
func expectRefused(w *way) error {
	body := &counting{Reader: bytes.NewReader(mebibyte)}
	request := w.request("POST", w.url("x"), body)
	request.ContentLength = int64(len(mebibyte))
	request.Header.Set("Expect", "100-continue")
	request.Header.Set("Authorization", "Bearer none")
	began := time.Now()
	answer, said, err := w.ask(request)
	if err != nil {
		return fmt.Errorf("after %v: %w", time.Since(began), err)
	}
	read := atomic.LoadInt64(&body.read)
	if answer.StatusCode != 401 || len(said) == 0 || read > 0 || time.Since(began) > patience/2 {
		return fmt.Errorf("status %d, %d bytes were sent, %v", answer.StatusCode, read, time.Since(began))
	}
	if _, err := w.echo(w.request("GET", w.url("x"), nil)); err != nil {
		return fmt.Errorf("the next request: %w", err)
	}
	return nil
}

func reuse(w *way) error {
	fresh := 0
	trace := &httptrace.ClientTrace{GotConn: func(info httptrace.GotConnInfo) {
		if !info.Reused {
			fresh++
		}
	}}
	for number := 0; number < 1000; number++ {
		method, body := "GET", io.Reader(nil)
		if number%10 == 9 {
			method, body = "POST", strings.NewReader(fmt.Sprint(number))
		}
		request := w.request(method, w.url(fmt.Sprintf("x?n=%d", number)), body)
		said, err := w.echo(request.WithContext(httptrace.WithClientTrace(request.Context(), trace)))
		if err != nil {
			return fmt.Errorf("request %d: %w", number, err)
		}
		if !strings.HasSuffix(said.Path, fmt.Sprintf("?n=%d", number)) {
			return fmt.Errorf("request %d has the answer of %s", number, said.Path)
		}
	}
	if dialed := atomic.LoadInt64(w.dialed); dialed != 1 || fresh != 1 {
		return fmt.Errorf("%d connections were made, %d seen as new", dialed, fresh)
	}
	return nil
}

func together(count int, one func(int) error) error {
	var group sync.WaitGroup
	faults := make([]error, count)
	for number := range faults {
		group.Add(1)
		go func(number int) {
			defer group.Done()
			faults[number] = one(number)
		}(number)
	}
	group.Wait()
	failed, first := 0, error(nil)
	for _, fault := range faults {
		if fault != nil {
			failed++
			if first == nil {
				first = fault
			}
		}
	}
	if failed > 0 {
		return fmt.Errorf("%d of %d failed, the first: %w", failed, count, first)
	}
	return nil
}

// 100 at a time, ten times each.
func parallel(w *way) error {
	// Without a connection to begin with, Go makes many at a time, and then leaves all but one of HTTP/2.
	if _, err := w.echo(w.request("GET", w.url("x"), nil)); err != nil {
		return err
	}
	err := together(100, func(number int) error {
		for repeat := 0; repeat < 10; repeat++ {
			data := []byte(strings.Repeat(fmt.Sprintf("%d/%d ", number, repeat), 500))
			said, err := w.echo(w.request("POST", w.url("x"), bytes.NewReader(data)))
			if err != nil {
				return fmt.Errorf("%d/%d: %w", number, repeat, err)
			}
			if said.Sha256 != digest(data) {
				return fmt.Errorf("%d/%d has the answer to another", number, repeat)
			}
		}
		return nil
	})
	if dialed := atomic.LoadInt64(w.dialed); err == nil && w.proto == "HTTP/2.0" && dialed != 1 {
		return fmt.Errorf("%d connections were made", dialed)
	}
	return err
}

// Twenty bodies of 1 MiB up and of 10 MiB down at a time.
func parallelLarge(w *way) error {
	return together(20, func(number int) error {
		if number%2 == 0 {
			said, err := w.echo(w.request("POST", w.url("x"), unknown{bytes.NewReader(mebibyte)}))
			if err == nil && said.Sha256 != digest(mebibyte) {
				err = fmt.Errorf("the upstream saw %d bytes", said.Length)
			}
			return err
		}
		_, body, err := w.ask(w.request("GET", w.url("large"), nil))
		if err == nil && len(body) != 10<<20 {
			err = fmt.Errorf("%d bytes", len(body))
		}
		return err
	})
}

// Waits until the upstream says so of a request that hangs.
func (w *way) fate(url, expected string, within time.Duration) error {
	until := time.Now().Add(within)
	for {
		_, body, err := w.ask(w.request("GET", w.url("fate")+"?"+strings.TrimPrefix(url, w.origin), nil))
		if err != nil {
			return fmt.Errorf("asking for the fate: %w", err)
		}
		if string(body) == expected {
			return nil
		}
		if time.Now().After(until) {
			return fmt.Errorf("the request at the upstream is %q, not %q", body, expected)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func cancelled(w *way) error {
	if _, err := w.echo(w.request("GET", w.url("x"), nil)); err != nil {
		return err
	}
	url := w.own("hang")
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	outcome := make(chan error, 1)
	go func() {
		answer, body, err := w.ask(w.request("GET", url, nil).WithContext(ctx))
		if err == nil {
			err = fmt.Errorf("an answer: %d %q", answer.StatusCode, body)
		}
		outcome <- err
	}()
	if err := w.fate(url, "waits", 5*time.Second); err != nil {
		return err
	}
	cancel()
	if err := <-outcome; !errors.Is(err, context.Canceled) {
		return fmt.Errorf("instead of the cancellation: %v", err)
	}
	if w.proto == "HTTP/1.1" {
		// It looks like a client that has only closed its sending side, which gets its answer.
		return nil
	}
	if err := w.fate(url, "ended", 2*time.Second); err != nil {
		return err
	}
	if dialed := atomic.LoadInt64(w.dialed); w.proto == "HTTP/2.0" && dialed != 1 {
		return fmt.Errorf("the connection did not go on: %d were made", dialed)
	}
	return nil
}

func cancelledStream(w *way) error {
	url := w.own("stream")
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	answer, err := w.client.Do(w.request("GET", url, nil).WithContext(ctx))
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	first := make([]byte, 13)
	if _, err := io.ReadFull(answer.Body, first); err != nil || string(first) != "data: first\n\n" {
		return fmt.Errorf("%q %v", first, err)
	}
	cancel()
	if _, err := io.ReadAll(answer.Body); !errors.Is(err, context.Canceled) {
		return fmt.Errorf("instead of the cancellation: %v", err)
	}
	return w.fate(url, "ended", 2*time.Second)
}

// While the body is sent.
func cancelledUpload(w *way) error {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	read, write := io.Pipe()
	defer write.Close()
	go func() {
		write.Write(mebibyte)
		time.Sleep(100 * time.Millisecond)
		cancel()
		// Go waits for the body's reader to return.
		time.Sleep(100 * time.Millisecond)
		write.CloseWithError(errors.New("cancelled"))
	}()
	_, _, err := w.ask(w.request("POST", w.own("x"), read).WithContext(ctx))
	if !errors.Is(err, context.Canceled) {
		return fmt.Errorf("instead of the cancellation: %v", err)
	}
	_, err = w.echo(w.request("GET", w.url("x"), nil))
	return err
}

func deadline(w *way) error {
	url := w.own("hang") + "/deadline"
	ctx, cancel := context.WithTimeout(context.Background(), 500*time.Millisecond)
	defer cancel()
	_, _, err := w.ask(w.request("GET", url, nil).WithContext(ctx))
	if !errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("instead of the deadline: %v", err)
	}
	if w.proto == "HTTP/1.1" {
		return nil
	}
	return w.fate(url, "ended", 2*time.Second)
}

func unauthorized(w *way) error {
	for _, data := range [][]byte{nil, mebibyte} {
		for _, credential := range []string{"Bearer none", ""} {
			method, body := "GET", io.Reader(nil)
			if data != nil {
				method, body = "POST", bytes.NewReader(data)
			}
			request := w.request(method, w.url("x"), body)
			request.Header.Del("Authorization")
			if credential != "" {
				request.Header.Set("Authorization", credential)
			}
			answer, said, err := w.ask(request)
			if err != nil {
				return fmt.Errorf("%s with %q: %w", method, credential, err)
			}
			if answer.StatusCode != 401 || !strings.HasPrefix(answer.Header.Get("WWW-Authenticate"), "Bearer") ||
				answer.Header.Get("Content-Type") != "application/problem+json" || len(said) == 0 {
				return fmt.Errorf("%s with %q: %d %v %.200s", method, credential, answer.StatusCode, answer.Header, said)
			}
		}
	}
	_, err := w.echo(w.request("GET", w.url("x"), nil))
	return err
}

// Uploads of 20 MiB, refused before they end, with a known length and without: the answer is read, not a broken connection.
// With `fresh` each on a connection of its own.
func refusedUpload(w *way, kind, credential string, status int, fresh bool) error {
	for repeat := 0; repeat < 5; repeat++ {
		for _, known := range []bool{true, false} {
			var body io.Reader = bytes.NewReader(upload)
			if !known {
				body = unknown{body}
			}
			request := w.request("POST", w.url(kind), body)
			request.Header.Set("Authorization", "Bearer "+credential)
			answer, said, err := w.ask(request)
			if err != nil {
				return fmt.Errorf("try %d, length known %v: %w", repeat, known, err)
			}
			if answer.StatusCode != status || len(said) == 0 {
				return fmt.Errorf("try %d, length known %v: %d %.200s", repeat, known, answer.StatusCode, said)
			}
			if fresh {
				w.client.CloseIdleConnections()
			}
		}
	}
	_, err := w.echo(w.request("GET", w.url("x"), nil))
	return err
}

func earlyRefusal(w *way) error  { return refusedUpload(w, "x", "none", 401, false) }
func tooLarge(w *way) error      { return refusedUpload(w, "too-large", token, 413, true) }
func tooLargeAgain(w *way) error { return refusedUpload(w, "too-large", token, 413, false) }

func gzipped(w *way) error {
	text := strings.Repeat("the same words ", 10000)
	// Go asks for gzip by itself and unpacks it.
	answer, body, err := w.ask(w.request("GET", w.url("gzip"), nil))
	if err != nil {
		return err
	}
	if !answer.Uncompressed || string(body) != text || answer.Header.Get("Content-Encoding") != "" {
		return fmt.Errorf("unpacked %v, %d bytes, %v", answer.Uncompressed, len(body), answer.Header)
	}
	// Asked for by hand it comes packed.
	request := w.request("GET", w.url("gzip"), nil)
	request.Header.Set("Accept-Encoding", "gzip")
	answer, body, err = w.ask(request)
	if err != nil {
		return err
	}
	if answer.Uncompressed || !bytes.HasPrefix(body, []byte("\x1f\x8b")) || answer.Header.Get("Content-Encoding") != "gzip" {
		return fmt.Errorf("by hand: unpacked %v, %d bytes, %v", answer.Uncompressed, len(body), answer.Header)
	}
	request.Header.Set("Accept-Encoding", "identity")
	answer, body, err = w.ask(request)
	if err != nil {
		return err
	}
	if answer.Header.Get("Content-Encoding") != "" || string(body) != text {
		return fmt.Errorf("identity: %d bytes, %v", len(body), answer.Header)
	}
	return nil
}

func head(w *way) error {
	for kind, length := range map[string]int64{"large": 10 << 20, "file": 10, "nothing": 0} {
		answer, body, err := w.ask(w.request("HEAD", w.url(kind), nil))
		if err != nil {
			return fmt.Errorf("%s: %w", kind, err)
		}
		if len(body) != 0 || answer.ContentLength != length && kind != "nothing" {
			return fmt.Errorf("%s: %d, length %d, %d bytes", kind, answer.StatusCode, answer.ContentLength, len(body))
		}
	}
	_, err := w.echo(w.request("GET", w.url("x"), nil))
	return err
}

// 307: the body is sent a second time, to the same host.
func redirect(w *way) error {
	said, err := w.echo(w.request("POST", w.url("redirect/"), bytes.NewReader(mebibyte)))
	if err != nil {
		return err
	}
	if said.Path != "/"+upstream+"/x?after=redirect" || said.Sha256 != digest(mebibyte) {
		return fmt.Errorf("the upstream saw %+v", said)
	}
	return nil
}

func ranges(w *way) error {
	request := w.request("GET", w.url("file"), nil)
	request.Header.Set("Range", "bytes=2-4")
	answer, body, err := w.ask(request)
	if err != nil {
		return err
	}
	if answer.StatusCode != 206 || string(body) != "234" || answer.Header.Get("Content-Range") != "bytes 2-4/10" {
		return fmt.Errorf("range: %d %q %v", answer.StatusCode, body, answer.Header)
	}
	request.Header.Set("Range", "bytes=0-1,4-5")
	answer, body, err = w.ask(request)
	if err != nil {
		return err
	}
	if answer.StatusCode != 206 || !strings.HasPrefix(answer.Header.Get("Content-Type"), "multipart/byteranges") {
		return fmt.Errorf("ranges: %d %q %v", answer.StatusCode, body, answer.Header)
	}
	request = w.request("GET", w.url("file"), nil)
	request.Header.Set("If-None-Match", answer.Header.Get("ETag"))
	answer, body, err = w.ask(request)
	if err != nil {
		return err
	}
	if answer.StatusCode != 304 || len(body) != 0 {
		return fmt.Errorf("not modified: %d %q", answer.StatusCode, body)
	}
	return nil
}

// 103 and 102 of the upstream are left out by keyward; what matters is that the answer behind them comes.
func earlyHints(w *way) error {
	interim := []int{}
	request := w.request("GET", w.url("early"), nil)
	trace := &httptrace.ClientTrace{Got1xxResponse: func(code int, _ textproto.MIMEHeader) error {
		interim = append(interim, code)
		return nil
	}}
	answer, body, err := w.ask(request.WithContext(httptrace.WithClientTrace(request.Context(), trace)))
	if err != nil {
		return err
	}
	if answer.StatusCode != 200 || string(body) != "after the hints" || len(interim) != 0 {
		return fmt.Errorf("%d %q, interim %v", answer.StatusCode, body, interim)
	}
	return nil
}

// The upstream ends its connection after each answer.
func goodbye(w *way) error {
	connections := map[string]bool{}
	for number := 0; number < 60; number++ {
		answer, body, err := w.ask(w.request("POST", w.url("goodbye"), strings.NewReader("x")))
		if err != nil {
			return fmt.Errorf("request %d: %w", number, err)
		}
		if answer.StatusCode != 200 {
			return fmt.Errorf("request %d: %d %.200s", number, answer.StatusCode, body)
		}
		connections[string(body)] = true
	}
	if dialed := atomic.LoadInt64(w.dialed); dialed != 1 {
		return fmt.Errorf("the client's connection ended with the upstream's: %d were made", dialed)
	}
	return together(100, func(number int) error {
		answer, body, err := w.ask(w.request("GET", w.url("goodbye"), nil))
		if err == nil && answer.StatusCode != 200 {
			err = fmt.Errorf("%d %.200s", answer.StatusCode, body)
		}
		return err
	})
}

// An answer that breaks off is no whole answer for the client.
func aborted(w *way) error {
	answer, body, err := w.ask(w.request("GET", w.own("abort"), nil))
	if err == nil {
		return fmt.Errorf("%d with %q was taken for a whole answer", answer.StatusCode, body)
	}
	if answer == nil || answer.StatusCode != 200 || string(body) != "only this" {
		return fmt.Errorf("%q, then %v", body, err)
	}
	_, err = w.echo(w.request("GET", w.url("x"), nil))
	return err
}

// So soon that the head may be lost with the body. What the client must not have is a whole answer.
func abortedAtOnce(w *way) error {
	answer, body, err := w.ask(w.request("GET", w.own("abort")+"/at-once", nil))
	if err == nil {
		return fmt.Errorf("%d with %q was taken for a whole answer", answer.StatusCode, body)
	}
	return nil
}

// Without bodies.
func parallelGet(w *way) error {
	return together(100, func(number int) error {
		for repeat := 0; repeat < 10; repeat++ {
			if _, err := w.echo(w.request("GET", w.url("x"), nil)); err != nil {
				return err
			}
		}
		return nil
	})
}

func closing(w *way) error {
	if w.name == "HTTP/2 in clear" {
		// x/net/http2 makes no connection then, whatever the server.
		return nil
	}
	for number := 1; number <= 3; number++ {
		request := w.request("GET", w.url("x"), nil)
		request.Close = true
		if _, err := w.echo(request); err != nil {
			return err
		}
		if dialed := atomic.LoadInt64(w.dialed); dialed != int64(number) {
			return fmt.Errorf("after %d requests %d connections were made", number, dialed)
		}
	}
	return nil
}

// What the client says of itself, and what it may not say, as the upstream sees it.
func fields(w *way) error {
	request := w.request("GET", w.url("x"), nil)
	request.Header["X-Twice"] = []string{"one", "two"}
	request.Header.Set("X-Keyward-Subject", "root")
	request.Header.Set("X-Odd", "é \t tab")
	request.AddCookie(&http.Cookie{Name: "a", Value: "1"})
	request.AddCookie(&http.Cookie{Name: "b", Value: "2"})
	said, err := w.echo(request)
	if err != nil {
		return err
	}
	if got := said.Fields.Values("X-Twice"); len(got) != 2 || got[0] != "one" || got[1] != "two" {
		return fmt.Errorf("X-Twice: %q", got)
	}
	if got := said.Fields.Get("X-Odd"); got != "é \t tab" {
		return fmt.Errorf("X-Odd: %q", got)
	}
	if got := said.Fields.Values("Cookie"); len(got) != 1 || got[0] != "a=1; b=2" {
		return fmt.Errorf("Cookie: %q", got)
	}
	if got := said.Fields.Values("X-Keyward-Subject"); len(got) != 1 || got[0] != "alice" {
		return fmt.Errorf("X-Keyward-Subject: %q", got)
	}
	if said.Fields.Get("Authorization") != "" || said.Fields.Get("X-Forwarded-For") != "127.0.0.1" ||
		said.Fields.Get("X-Forwarded-Proto") != strings.Split(w.origin, ":")[0] || said.Host != strings.Split(w.origin, "/")[2] {
		return fmt.Errorf("Host %q and %v", said.Host, said.Fields)
	}
	return nil
}

// Each message is answered before the next is sent: both sides in HTTP/2.
func chat(w *way) error {
	if w.proto != "HTTP/2.0" || proto != "HTTP/2.0" {
		return nil
	}
	read, write := io.Pipe()
	answer, err := w.client.Do(w.request("POST", w.url("chat"), read))
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	for number := 0; number < 100; number++ {
		message := fmt.Sprint(number)
		if _, err := io.WriteString(write, message); err != nil {
			return fmt.Errorf("message %d: %w", number, err)
		}
		reply := make([]byte, len(message)+2)
		if _, err := io.ReadFull(answer.Body, reply); err != nil || string(reply) != "<"+message+">" {
			return fmt.Errorf("message %d was answered with %q, %v", number, reply, err)
		}
	}
	write.Close()
	rest, err := io.ReadAll(answer.Body)
	if err != nil || len(rest) != 0 {
		return fmt.Errorf("the end: %q %v", rest, err)
	}
	return nil
}
