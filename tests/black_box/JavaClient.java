// Java's HttpClient: in clear it offers h2c with its requests, over TLS it takes HTTP/2 by ALPN.
// usage: java JavaClient.java CLEAR TLS CA_FILE TOKEN
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpRequest.BodyPublishers;
import java.net.http.HttpResponse;
import java.net.http.HttpResponse.BodyHandlers;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.KeyStore;
import java.security.cert.CertificateFactory;
import java.time.Duration;
import java.util.ArrayList;
import java.util.concurrent.CompletableFuture;
import javax.net.ssl.SSLContext;
import javax.net.ssl.TrustManagerFactory;

public class JavaClient {

    static void hold(boolean holds, String words) {
        if (!holds) {
            System.err.println(words);
            System.exit(1);
        }
    }

    public static void main(String[] arguments) throws Exception {
        var keys = KeyStore.getInstance(KeyStore.getDefaultType());
        keys.load(null);
        try (var file = Files.newInputStream(Path.of(arguments[2]))) {
            keys.setCertificateEntry(
                "ca",
                CertificateFactory.getInstance("X.509").generateCertificate(file)
            );
        }
        var trust = TrustManagerFactory.getInstance(TrustManagerFactory.getDefaultAlgorithm());
        trust.init(keys);
        var context = SSLContext.getInstance("TLS");
        context.init(null, trust.getTrustManagers(), null);
        var large = new byte[5 << 20];
        for (var version : HttpClient.Version.values()) {
            for (var origin : new String[] {
                "http://localhost:" + arguments[0],
                "https://localhost:" + arguments[1],
            }) {
                var client = HttpClient.newBuilder().version(version).sslContext(context).build();
                var way = origin + ", " + version + ": ";
                // On a new connection: the first request is the one with the offer.
                var posted = client.send(
                    request(origin, "/echo/x", arguments[3])
                        .POST(BodyPublishers.ofByteArray(large))
                        .build(),
                    BodyHandlers.ofString()
                );
                hold(
                    posted.statusCode() == 200,
                    way + "POST was answered " + posted.statusCode() + " " + posted.body()
                );
                hold(
                    posted.body().contains("\"length\": " + large.length),
                    way + "the upstream saw " + posted.body()
                );
                hold(
                    !posted.body().toLowerCase().contains("http2-settings"),
                    way + "the offer went on to the upstream: " + posted.body()
                );
                var expected =
                    version == HttpClient.Version.HTTP_2 && origin.startsWith("https")
                        ? HttpClient.Version.HTTP_2
                        : HttpClient.Version.HTTP_1_1;
                hold(posted.version() == expected, way + "was answered in " + posted.version());
                var many = new ArrayList<CompletableFuture<HttpResponse<String>>>();
                for (int number = 0; number < 50; number++) {
                    many.add(
                        client.sendAsync(
                            request(origin, "/echo/x", arguments[3]).GET().build(),
                            BodyHandlers.ofString()
                        )
                    );
                }
                for (var one : many) {
                    hold(
                        one.join().statusCode() == 200,
                        way +
                            "GET was answered " +
                            one.join().statusCode() +
                            " " +
                            one.join().body()
                    );
                }
                if (version == HttpClient.Version.HTTP_1_1) {
                    // In HTTP/2, Java 17 waits for 100 for ever (JDK-8286171).
                    var expect = request(origin, "/echo/x", arguments[3])
                        .expectContinue(true)
                        .POST(BodyPublishers.ofString("hello"))
                        .build();
                    var continued = client.send(expect, BodyHandlers.ofString());
                    hold(
                        continued.body().contains("\"length\": 5,"),
                        way +
                            "Expect: 100-continue was answered " +
                            continued.statusCode() +
                            " " +
                            continued.body()
                    );
                }
            }
        }
        System.exit(0);
    }

    static HttpRequest.Builder request(String origin, String path, String token) {
        return HttpRequest.newBuilder(URI.create(origin + path))
            .timeout(Duration.ofSeconds(20))
            .header("Authorization", "Bearer " + token);
    }
}
