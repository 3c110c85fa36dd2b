// Reads the identity headers of keyward, with a servlet; below it is the Tomcat that runs it.
//
// They are true only if nothing but keyward can connect. So this listens on 127.0.0.1 (a connector
// without "address" takes all), with keyward on the same machine or in the same pod. Elsewhere a
// network policy or a firewall must see to it: README.md, "Let nothing come past keyward".

import static java.nio.charset.StandardCharsets.*;

import jakarta.servlet.http.*;
import java.io.IOException;
import java.net.URLDecoder;
import java.nio.ByteBuffer;
import java.nio.charset.CharacterCodingException;
import java.nio.file.Files;
import java.util.*;
import org.apache.catalina.core.StandardContext;
import org.apache.catalina.startup.Tomcat;

class App extends HttpServlet {
    static final List<String> NAMES = List.of("Subject", "Username", "Organization", "Role");
    // What keyward writes: visible ASCII, with the space, % and all else as %XX of their UTF-8. No
    // byte is above 127, so it is no matter that the server reads header fields as Latin-1.
    static final String WRITTEN = "([!-$&-~]|%[0-9A-Fa-f]{2})*";

    // The value of a field that keyward sends once or, if the token does not say it, not at all.
    static String one(HttpServletRequest in, String name) throws IOException {
        var values = Collections.list(in.getHeaders(name)); // getHeader takes the first of two
        if (values.size() > 1 || !values.stream().allMatch(value -> value.matches(WRITTEN)))
            throw new IOException(name + " is not as keyward sends it");
        if (values.isEmpty() || values.get(0).isEmpty()) return null;
        // URLDecoder makes "+" a space, and U+FFFD of what is no UTF-8, where this decoder throws.
        var bytes = URLDecoder.decode(values.get(0).replace("+", "%2B"), ISO_8859_1);
        try {
            var decoder = UTF_8.newDecoder();
            return decoder.decode(ByteBuffer.wrap(bytes.getBytes(ISO_8859_1))).toString();
        } catch (CharacterCodingException fault) {
            throw new IOException(name + " is not as keyward sends it", fault);
        }
    }

    // Instead of doGet and doPost. Where there are many servlets, a Filter can read the headers.
    @Override
    protected void service(HttpServletRequest in, HttpServletResponse out) throws IOException {
        var caller = new LinkedHashMap<String, String>();
        try {
            for (var name : NAMES) caller.put(name, one(in, "X-Keyward-" + name));
            // The id leads to keyward's access log. The subject is shown as it came, in ASCII.
            var shown = in.getHeader("X-Keyward-Subject");
            System.out.println("request_id=" + one(in, "X-Request-Id") + " subject=" + shown);
        } catch (IOException fault) { // of two values, none is guessed to be right
            answer(out, 500, fault.getMessage() + "\n");
            return;
        }
        var subject = caller.get("Subject");
        var known = new StringBuilder();
        caller.values().removeIf(Objects::isNull);
        caller.forEach((name, value) -> known.append(name + ": " + value + "\n"));
        // Tomcat has decoded the path and resolved "..", "//" and ";x", as getRequestURI has not:
        // whether a caller is needed is asked by the path that is served.
        var what = in.getMethod() + " " + in.getServletPath();
        if (subject == null && !what.equals("GET /public/whoami"))
            answer(out, 401, "this needs a caller\n");
        else if (what.equals("GET /whoami") || what.equals("GET /public/whoami"))
            answer(out, 200, known.isEmpty() ? "nobody\n" : known.toString());
        else if (what.equals("GET /admin/report") && !"admin".equals(caller.get("Role")))
            answer(out, 403, "this needs the role admin\n");
        else if (what.equals("GET /admin/report"))
            answer(out, 200, "a report for " + subject + "\n");
        else if (what.equals("POST /notes")) {
            var body = new String(in.getInputStream().readAllBytes(), UTF_8);
            answer(out, 200, subject + " wrote: " + body + "\n");
        } else answer(out, 404, "there is nothing\n");
    }

    static void answer(HttpServletResponse out, int status, String text) throws IOException {
        out.setContentType("text/plain; charset=utf-8");
        out.setStatus(status);
        if (status == 401) out.setHeader("WWW-Authenticate", "Bearer");
        out.getWriter().print(text);
    }

    public static void main(String[] arguments) throws Exception {
        var room = Files.createTempDirectory("tomcat").toFile();
        room.deleteOnExit();
        var tomcat = new Tomcat();
        tomcat.setBaseDir(room.getPath());
        tomcat.setPort(Integer.parseInt(System.getenv().getOrDefault("PORT", "3000")));
        tomcat.getConnector().setProperty("address", "127.0.0.1");
        tomcat.getConnector().setThrowOnFailure(true);
        var context = (StandardContext) tomcat.addContext("", null);
        context.setWorkDir(room.getPath());
        context.setIgnoreAnnotations(true); // they are in a jar of their own
        Tomcat.addServlet(context, "app", new App()).addMapping("/");
        tomcat.start();
        tomcat.getServer().await();
    }
}
