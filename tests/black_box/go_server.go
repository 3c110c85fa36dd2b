// Go's net/http as upstream: what it is asked is what it answers. /NAME/KIND/…: KIND says how.
// usage: go_server CERTIFICATE KEY HTTP HTTPS H2C H2C_NARROW
// The last four are ports. HTTPS speaks HTTP/1.1 and HTTP/2 by ALPN, H2C_NARROW allows 4 streams at a time.
package main

import (
	"compress/gzip"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/h2c"
)

var (
	large = []byte(strings.Repeat("g", 10<<20))
	// What became of requests that hang: "waits" or "ended", by path.
	hanging sync.Map
)

type seen struct {
	Method     string      `json:"method"`
	Path       string      `json:"path"`
	Host       string      `json:"host"`
	Proto      string      `json:"proto"`
	Fields     http.Header `json:"fields"`
	Length     int64       `json:"length"`
	Announced  int64       `json:"announced"`
	Sha256     string      `json:"sha256"`
	Connection string      `json:"connection"`
	Fault      string      `json:"fault"`
}

func answer(w http.ResponseWriter, r *http.Request) {
	parts := strings.Split(r.URL.Path, "/")
	kind := ""
	if len(parts) > 2 {
		kind = parts[2]
	}
	flush := func() { w.(http.Flusher).Flush() }
	switch kind {
	case "large":
		w.Header().Set("Content-Length", fmt.Sprint(len(large)))
		w.Write(large)
	case "nothing":
		w.WriteHeader(http.StatusNoContent)
	case "trailers":
		w.Header().Set("Trailer", "X-Sum")
		for number := 0; number < 100; number++ {
			io.WriteString(w, strings.Repeat(fmt.Sprintf("%d ", number), 100))
			flush()
		}
		w.Header().Set("X-Sum", "4950")
		// Not announced.
		w.Header().Set(http.TrailerPrefix+"X-Late", "yes")
	case "gzip":
		text := strings.Repeat("the same words ", 10000)
		w.Header().Set("Content-Type", "text/plain")
		w.Header().Set("Vary", "Accept-Encoding")
		if !strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
			io.WriteString(w, text)
			return
		}
		w.Header().Set("Content-Encoding", "gzip")
		packer := gzip.NewWriter(w)
		io.WriteString(packer, text)
		packer.Close()
	case "hang":
		// Answers after three seconds, if it is not left before.
		hanging.Store(r.URL.Path, "waits")
		select {
		case <-r.Context().Done():
			hanging.Store(r.URL.Path, "ended")
		case <-time.After(3 * time.Second):
			hanging.Store(r.URL.Path, "answered")
			io.WriteString(w, "late")
		}
	case "stream":
		w.Header().Set("Content-Type", "text/event-stream")
		io.WriteString(w, "data: first\n\n")
		flush()
		hanging.Store(r.URL.Path, "waits")
		// One event a second.
		for number := 0; number < 20; number++ {
			select {
			case <-r.Context().Done():
				hanging.Store(r.URL.Path, "ended")
				return
			case <-time.After(time.Second):
				fmt.Fprintf(w, "data: %d\n\n", number)
				flush()
			}
		}
	case "fate":
		// Of the path in the query.
		fate, _ := hanging.Load(r.URL.RawQuery)
		fmt.Fprint(w, fate)
	case "early":
		// Interim responses, then the answer.
		w.Header().Set("Link", "</style.css>; rel=preload")
		w.WriteHeader(http.StatusEarlyHints)
		w.WriteHeader(http.StatusProcessing)
		io.WriteString(w, "after the hints")
	case "too-large":
		// Answers and reads nothing: Go reads up to 256 KiB more, then closes a connection of HTTP/1.1 or resets the stream.
		http.Error(w, "too large", http.StatusRequestEntityTooLarge)
	case "goodbye":
		// In HTTP/2, Go says GOAWAY then.
		w.Header().Set("Connection", "close")
		io.WriteString(w, r.RemoteAddr)
	case "redirect":
		http.Redirect(w, r, "../x?after=redirect", http.StatusTemporaryRedirect)
	case "file":
		w.Header().Set("ETag", `"one"`)
		http.ServeContent(w, r, "file.txt", time.Unix(1700000000, 0), strings.NewReader("0123456789"))
	case "abort":
		// Breaks off in the body.
		w.Header().Set("Content-Length", "1000")
		io.WriteString(w, "only this")
		flush()
		if !strings.HasSuffix(r.URL.Path, "/at-once") {
			time.Sleep(200 * time.Millisecond)
		}
		panic(http.ErrAbortHandler)
	case "chat":
		// Each line is answered before the next is read: needs HTTP/2.
		w.WriteHeader(http.StatusOK)
		flush()
		buffer := make([]byte, 100)
		for {
			n, err := r.Body.Read(buffer)
			if n > 0 {
				fmt.Fprintf(w, "<%s>", buffer[:n])
				flush()
			}
			if err != nil {
				return
			}
		}
	default:
		digest := sha256.New()
		length, err := io.Copy(digest, r.Body)
		said := seen{
			Method: r.Method, Path: r.URL.RequestURI(), Host: r.Host, Proto: r.Proto, Fields: r.Header, Length: length,
			Announced: r.ContentLength, Sha256: hex.EncodeToString(digest.Sum(nil)), Connection: r.RemoteAddr,
		}
		if err != nil {
			said.Fault = err.Error()
		}
		w.Header().Set("Content-Type", "application/json")
		json.NewEncoder(w).Encode(said)
	}
}

func main() {
	pair, err := tls.LoadX509KeyPair(os.Args[1], os.Args[2])
	if err != nil {
		log.Fatal(err)
	}
	handler := http.HandlerFunc(answer)
	server := func(port string, handler http.Handler) *httptest.Server {
		listener, err := net.Listen("tcp", "127.0.0.1:"+port)
		if err != nil {
			log.Fatal(err)
		}
		return &httptest.Server{Listener: listener, Config: &http.Server{Handler: handler}}
	}
	server(os.Args[3], handler).Start()
	secure := server(os.Args[4], handler)
	secure.TLS = &tls.Config{Certificates: []tls.Certificate{pair}}
	secure.EnableHTTP2 = true
	secure.StartTLS()
	server(os.Args[5], h2c.NewHandler(handler, &http2.Server{})).Start()
	server(os.Args[6], h2c.NewHandler(handler, &http2.Server{MaxConcurrentStreams: 4})).Start()
	select {}
}
