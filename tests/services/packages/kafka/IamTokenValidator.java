import java.net.URI;
import java.net.URLDecoder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.MessageDigest;
import java.time.Instant;
import java.time.format.DateTimeFormatter;
import java.time.ZoneOffset;
import java.util.Arrays;
import java.util.Base64;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.Set;
import java.util.TreeMap;
import java.util.UUID;
import java.util.stream.Collectors;
import javax.crypto.Mac;
import javax.crypto.spec.SecretKeySpec;
import javax.security.auth.callback.Callback;
import javax.security.auth.callback.UnsupportedCallbackException;
import javax.security.auth.login.AppConfigurationEntry;
import org.apache.kafka.common.errors.SaslAuthenticationException;
import org.apache.kafka.common.security.auth.AuthenticateCallbackHandler;
import org.apache.kafka.common.security.oauthbearer.OAuthBearerExtensionsValidatorCallback;
import org.apache.kafka.common.security.oauthbearer.OAuthBearerToken;
import org.apache.kafka.common.security.oauthbearer.OAuthBearerValidatorCallback;

/**
 * Looks at tokens as Amazon MSK does: the base64url of a presigned URL of kafka-cluster:Connect.
 *
 * The keys that are good are files in a folder, read again for each token, so that a test can add
 * and revoke them: ACCESS_KEY_ID.properties with `secret`, `principal` and perhaps `token`.
 */
public class IamTokenValidator implements AuthenticateCallbackHandler {
    private static final String REGION = System.getProperty("iam.region");
    private static final Path KEYS = Path.of(System.getProperty("iam.keys"));
    private static final String HOST = "kafka." + REGION + ".amazonaws.com";
    private static final int LIFE_S_MAX = 900;
    private static final int CLOCK_SKEW_S_MAX = 300;
    private static final Set<String> UNSIGNED = Set.of("X-Amz-Signature", "User-Agent");
    private static final DateTimeFormatter DATE =
            DateTimeFormatter.ofPattern("yyyyMMdd'T'HHmmss'Z'").withZone(ZoneOffset.UTC);

    private record Token(String value, String principalName, long lifetimeMs, Long startTimeMs)
            implements OAuthBearerToken {
        @Override
        public Set<String> scope() {
            return Set.of();
        }
    }

    @Override
    public void configure(Map<String, ?> configs, String mechanism, List<AppConfigurationEntry> jaas) {}

    @Override
    public void close() {}

    @Override
    public void handle(Callback[] callbacks) throws UnsupportedCallbackException {
        for (Callback callback : callbacks) {
            if (callback instanceof OAuthBearerValidatorCallback wanted) {
                wanted.token(validated(wanted.tokenValue()));
            } else if (callback instanceof OAuthBearerExtensionsValidatorCallback extensions) {
                extensions.inputExtensions().map().keySet().forEach(extensions::valid);
            } else {
                throw new UnsupportedCallbackException(callback);
            }
        }
    }

    private static Token validated(String value) {
        String id = UUID.randomUUID().toString();
        try {
            return validate(value);
        } catch (Exception why) {
            // The client learns no more than from MSK; a test's author finds the rest in the log.
            System.err.println("WARN token refused [" + id + "]: " + why);
            throw new SaslAuthenticationException("[" + id + "]: Access denied");
        }
    }

    private static Token validate(String value) throws Exception {
        URI url = new URI(new String(Base64.getUrlDecoder().decode(value), StandardCharsets.UTF_8));
        demand("https".equals(url.getScheme()) && HOST.equals(url.getHost()), "address");
        Map<String, String> query = query(url);
        demand("kafka-cluster:Connect".equals(query.get("Action")), "action");
        demand("AWS4-HMAC-SHA256".equals(query.get("X-Amz-Algorithm")), "algorithm");
        demand("host".equals(query.get("X-Amz-SignedHeaders")), "signed headers");
        String date = query.get("X-Amz-Date");
        String[] credential = query.get("X-Amz-Credential").split("/", 2);
        String scope = String.join("/", date.substring(0, 8), REGION, "kafka-cluster", "aws4_request");
        demand(scope.equals(credential[1]), "scope " + credential[1]);

        Properties key = key(credential[0]);
        demand(key.getProperty("token", "").equals(query.getOrDefault("X-Amz-Security-Token", "")),
                "session token");
        String signature = signature(url.getRawQuery(), key.getProperty("secret"), date, scope);
        demand(MessageDigest.isEqual(bytes(signature), bytes(query.get("X-Amz-Signature"))), "signature");

        Instant start = Instant.from(DATE.parse(date));
        Instant end = start.plusSeconds(
                Math.min(Integer.parseInt(query.get("X-Amz-Expires")), LIFE_S_MAX));
        Instant now = Instant.now();
        demand(!now.isAfter(end), "expired at " + end);
        demand(!start.isAfter(now.plusSeconds(CLOCK_SKEW_S_MAX)), "not valid before " + start);
        return new Token(value, key.getProperty("principal"), end.toEpochMilli(), start.toEpochMilli());
    }

    private static void demand(boolean holds, String what) {
        if (!holds) {
            throw new IllegalArgumentException(what);
        }
    }

    private static Properties key(String accessKeyId) throws Exception {
        demand(accessKeyId.matches("[A-Z0-9]+"), "access key");
        Properties key = new Properties();
        try (var file = Files.newBufferedReader(KEYS.resolve(accessKeyId + ".properties"))) {
            key.load(file);
        }
        return key;
    }

    private static Map<String, String> query(URI url) {
        Map<String, String> query = new TreeMap<>();
        for (String piece : url.getRawQuery().split("&")) {
            String[] pair = piece.split("=", 2);
            query.put(pair[0], URLDecoder.decode(pair[1].replace("+", "%2B"), StandardCharsets.UTF_8));
        }
        return query;
    }

    private static String signature(String rawQuery, String secret, String date, String scope)
            throws Exception {
        String query = Arrays.stream(rawQuery.split("&"))
                .filter(piece -> !UNSIGNED.contains(piece.split("=", 2)[0]))
                .sorted()
                .collect(Collectors.joining("&"));
        String request = String.join("\n", "GET", "/", query, "host:" + HOST, "", "host", hash(""));
        byte[] key = bytes("AWS4" + secret);
        for (String part : scope.split("/")) {
            key = sign(key, part);
        }
        String text = String.join("\n", "AWS4-HMAC-SHA256", date, scope, hash(request));
        return HexFormat.of().formatHex(sign(key, text));
    }

    private static String hash(String text) throws Exception {
        return HexFormat.of().formatHex(MessageDigest.getInstance("SHA-256").digest(bytes(text)));
    }

    private static byte[] sign(byte[] key, String text) throws Exception {
        Mac mac = Mac.getInstance("HmacSHA256");
        mac.init(new SecretKeySpec(key, "HmacSHA256"));
        return mac.doFinal(bytes(text));
    }

    private static byte[] bytes(String text) {
        return text.getBytes(StandardCharsets.UTF_8);
    }
}
