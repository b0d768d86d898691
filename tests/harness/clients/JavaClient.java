// SPDX-License-Identifier: Apache-2.0
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;
import java.security.cert.X509Certificate;
import java.util.HexFormat;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * An ordinary java.net.http.HttpClient, which chooses HTTP/2 where it is offered.
 *
 * <pre>java JavaClient.java [--http1.1] [HOST]</pre>
 *
 * A plain call and a streaming one, one after the other; one JSON line each.
 */
public class JavaClient {
    static final String MESSAGES = "\"messages\":[{\"role\":\"user\",\"content\":\"hello\"}]";

    static String path(String host, boolean stream) {
        return switch (host) {
        case "api.anthropic.com" -> "/v1/messages";
        case "generativelanguage.googleapis.com" -> "/v1beta/models/gemini-2.5-flash:"
                + (stream ? "streamGenerateContent?alt=sse" : "generateContent");
        default -> "/v1/chat/completions";
        };
    }

    static String body(String host, boolean stream) {
        String more = stream ? "\"stream\":true," : "";
        return switch (host) {
        case "api.anthropic.com" ->
            "{\"model\":\"claude-haiku-4-5\",\"max_tokens\":64," + more + MESSAGES + "}";
        case "generativelanguage.googleapis.com" ->
            "{\"contents\":[{\"role\":\"user\",\"parts\":[{\"text\":\"hello\"}]}]}";
        default -> "{\"model\":\"gpt-4o-mini\"," + more
                + (stream ? "\"stream_options\":{\"include_usage\":true}," : "") + MESSAGES + "}";
        };
    }

    /** The last usage object of a body; braces balance, and no string in it has any. */
    static String usage(String body) {
        Matcher m = Pattern.compile("\"usage(Metadata)?\"\\s*:\\s*\\{").matcher(body);
        String found = "null";
        while (m.find()) {
            int depth = 1, end = m.end();
            for (; depth > 0 && end < body.length(); end++)
                depth += body.charAt(end) == '{' ? 1 : body.charAt(end) == '}' ? -1 : 0;
            found = body.substring(m.end() - 1, end).replaceAll("\\s*\\n\\s*", "");
        }
        return found;
    }

    static String call(HttpClient client, String host, boolean stream) throws Exception {
        HttpRequest request = HttpRequest.newBuilder(URI.create("https://" + host + path(host, stream)))
                .header("content-type", "application/json")
                .header("authorization", "Bearer sk-lab-0000")
                .POST(HttpRequest.BodyPublishers.ofString(body(host, stream))).build();
        HttpResponse<byte[]> r = client.send(request, HttpResponse.BodyHandlers.ofByteArray());
        X509Certificate shown = (X509Certificate) r.sslSession().orElseThrow().getPeerCertificates()[0];
        String issuer = shown.getIssuerX500Principal().getName().replaceAll(".*CN=([^,]*).*", "$1");
        byte[] digest = MessageDigest.getInstance("SHA-256").digest(r.body());
        return String.format("\"ok\":%b,\"status\":%d,\"http_version\":\"%s\",\"issuer\":\"%s\",\"bytes\":%d,"
                + "\"sha256\":\"%s\",\"usage\":%s", r.statusCode() < 400, r.statusCode(),
                r.version() == HttpClient.Version.HTTP_2 ? "2" : "1.1", issuer, r.body().length,
                HexFormat.of().formatHex(digest), usage(new String(r.body(), StandardCharsets.UTF_8)));
    }

    public static void main(String[] args) {
        boolean http1 = args.length > 0 && args[0].equals("--http1.1");
        String host = args.length > (http1 ? 1 : 0) ? args[args.length - 1] : "api.openai.com";
        HttpClient.Builder builder = HttpClient.newBuilder();
        if (http1)
            builder.version(HttpClient.Version.HTTP_1_1);
        HttpClient client = builder.build();
        boolean failed = false;
        for (boolean stream : new boolean[] {false, true}) {
            String facts;
            try {
                facts = call(client, host, stream);
            } catch (Exception e) {
                failed = true;
                facts = "\"ok\":false,\"error\":\"" + e.getClass().getName() + "\",\"message\":\""
                        + String.valueOf(e.getMessage()).replaceAll("[\"\\\\]", "'") + "\"";
            }
            System.out.printf("{\"client\":\"java\",\"host\":\"%s\",\"stream\":%b,%s}%n", host, stream, facts);
        }
        System.exit(failed ? 1 : 0);
    }
}
