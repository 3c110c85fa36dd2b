// Reads the identity headers of keyward, with the JDK alone.
//
// They are true only if nothing but keyward can connect. So this listens on the loopback address
// (new InetSocketAddress(port) is all addresses), with keyward on the same machine or in the same
// pod. Elsewhere a network policy or a firewall must see to it: README.md, "Let nothing come past
// keyward".

import static java.nio.charset.StandardCharsets.*;

import com.sun.net.httpserver.*;
import java.io.IOException;
import java.net.*;
import java.nio.ByteBuffer;
import java.util.*;
import java.util.concurrent.Executors;

class App {
    // What keyward writes: visible ASCII, with the space, % and all else as %XX of their UTF-8. No
    // byte is above 127, so it is no matter that the server reads header fields as Latin-1.
    static final String WRITTEN = "([!-$&-~]|%[0-9A-Fa-f]{2})*";

    // The value of a field that keyward sends once or, if the token does not say it, not at all.
    static String one(Headers headers, String name) throws IOException {
        var values = headers.getOrDefault(name, List.of());
        if (values.size() > 1 || !values.stream().allMatch(value -> value.matches(WRITTEN)))
            throw new IOException(name + " is not as keyward sends it");
        if (values.isEmpty()) return null;
        // URLDecoder makes "+" a space, and U+FFFD of what is no UTF-8, where this decoder throws.
        var bytes = URLDecoder.decode(values.get(0).replace("+", "%2B"), ISO_8859_1);
        return UTF_8.newDecoder().decode(ByteBuffer.wrap(bytes.getBytes(ISO_8859_1))).toString();
    }

    static void serve(HttpExchange exchange) throws IOException {
        var caller = new LinkedHashMap<String, String>();
        var headers = exchange.getRequestHeaders();
        try {
            for (var name : List.of("Subject", "Username", "Organization", "Role"))
                caller.put(name, one(headers, "X-Keyward-" + name));
            // The id leads to keyward's access log. The subject is shown as it came, in ASCII.
            var shown = headers.getFirst("X-Keyward-Subject");
            System.out.println("request_id=" + one(headers, "X-Request-Id") + " subject=" + shown);
        } catch (IOException fault) { // of two values, none is guessed to be right
            answer(exchange, 500, fault.getMessage() + "\n");
            return;
        }
        var subject = caller.get("Subject");
        var known = new StringBuilder();
        caller.values().removeIf(Objects::isNull);
        caller.forEach((name, value) -> known.append(name + ": " + value + "\n"));
        var what = exchange.getRequestMethod() + " " + exchange.getRequestURI().getPath();
        if (subject == null && !what.equals("GET /public/whoami"))
            answer(exchange, 401, "this needs a caller\n");
        else if (what.equals("GET /whoami") || what.equals("GET /public/whoami"))
            answer(exchange, 200, known.isEmpty() ? "nobody\n" : known.toString());
        else if (what.equals("GET /admin/report") && !"admin".equals(caller.get("Role")))
            answer(exchange, 403, "this needs the role admin\n");
        else if (what.equals("GET /admin/report"))
            answer(exchange, 200, "a report for " + subject + "\n");
        else if (what.equals("POST /notes")) {
            var body = new String(exchange.getRequestBody().readAllBytes(), UTF_8);
            answer(exchange, 200, subject + " wrote: " + body + "\n");
        } else answer(exchange, 404, "there is nothing\n");
    }

    static void answer(HttpExchange exchange, int status, String text) throws IOException {
        exchange.getResponseHeaders().set("Content-Type", "text/plain; charset=utf-8");
        exchange.sendResponseHeaders(status, text.getBytes(UTF_8).length);
        exchange.getResponseBody().write(text.getBytes(UTF_8));
        exchange.close();
    }

    public static void main(String[] arguments) throws IOException {
        var port = Integer.parseInt(System.getenv().getOrDefault("PORT", "3000"));
        var address = new InetSocketAddress(InetAddress.getLoopbackAddress(), port);
        var server = HttpServer.create(address, 0);
        server.setExecutor(Executors.newCachedThreadPool());
        server.createContext("/", App::serve);
        server.start();
    }
}
