import java.nio.charset.StandardCharsets;
import java.security.GeneralSecurityException;
import java.security.MessageDigest;
import java.security.SecureRandom;
import java.util.Arrays;
import java.util.Base64;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.stream.Collectors;

import javax.crypto.Mac;
import javax.crypto.SecretKeyFactory;
import javax.crypto.spec.PBEKeySpec;
import javax.crypto.spec.SecretKeySpec;

import de.bwaldvogel.mongo.backend.Utils;
import de.bwaldvogel.mongo.bson.BinData;
import de.bwaldvogel.mongo.bson.Document;
import de.bwaldvogel.mongo.exception.MongoServerError;
import io.netty.channel.Channel;

/** Lets in the one user who knows the password, by SCRAM-SHA-256 (RFC 7677), which the library does not know. */
final class Users {
    /** What a server answers to anybody. */
    private static final Set<String> FREE = Set.of("hello", "isMaster", "ismaster", "ping", "buildInfo", "endSessions");

    private static final int ITERATIONS = 4096;

    private final String name;
    private final String password;
    private final Map<Channel, Exchange> exchanges = new ConcurrentHashMap<>();
    private final Set<Channel> known = ConcurrentHashMap.newKeySet();

    /** What was said so far in an exchange, and with which salt. */
    private record Exchange(String clientFirst, String serverFirst, String nonce, byte[] salt) { }

    Users(String nameAndPassword) {
        int colon = nameAndPassword.indexOf(':');
        name = nameAndPassword.substring(0, colon);
        password = nameAndPassword.substring(colon + 1);
    }

    /** The answer to a command of the exchange; null for another command, which the channel may give. */
    Document answer(Channel channel, String command, Document asked) {
        try {
            switch (command) {
                case "saslStart":
                    return start(channel, asked);
                case "saslContinue":
                    return finish(channel, asked);
                default:
                    if (!FREE.contains(command) && !known.contains(channel)) {
                        throw new MongoServerError(13, "Unauthorized", "command " + command + " requires authentication");
                    }
                    return null;
            }
        } catch (GeneralSecurityException e) {
            throw new IllegalStateException(e);
        }
    }

    void left(Channel channel) {
        exchanges.remove(channel);
        known.remove(channel);
    }

    private Document start(Channel channel, Document asked) {
        String said = text(asked);
        // After the header, which says that there is no channel binding.
        String clientFirst = said.substring(said.indexOf("n=", 3));
        Map<String, String> fields = fields(clientFirst);
        if (!"SCRAM-SHA-256".equals(asked.get("mechanism")) || !name.equals(fields.get("n"))) {
            throw refused();
        }
        SecureRandom random = new SecureRandom();
        byte[] salt = new byte[16];
        random.nextBytes(salt);
        String nonce = fields.get("r") + Long.toHexString(random.nextLong());
        String serverFirst = "r=" + nonce + ",s=" + base64(salt) + ",i=" + ITERATIONS;
        exchanges.put(channel, new Exchange(clientFirst, serverFirst, nonce, salt));
        return said(serverFirst, false);
    }

    private Document finish(Channel channel, Document asked) throws GeneralSecurityException {
        Exchange exchange = exchanges.remove(channel);
        String clientFinal = text(asked);
        Map<String, String> fields = fields(clientFinal);
        if (exchange == null || !exchange.nonce.equals(fields.get("r"))) {
            throw refused();
        }
        String withoutProof = clientFinal.substring(0, clientFinal.lastIndexOf(",p="));
        String all = exchange.clientFirst + "," + exchange.serverFirst + "," + withoutProof;
        byte[] salted = SecretKeyFactory.getInstance("PBKDF2WithHmacSHA256")
                .generateSecret(new PBEKeySpec(password.toCharArray(), exchange.salt, ITERATIONS, 256)).getEncoded();
        byte[] clientKey = hmac(salted, "Client Key");
        byte[] signature = hmac(MessageDigest.getInstance("SHA-256").digest(clientKey), all);
        byte[] proof = new byte[clientKey.length];
        for (int i = 0; i < proof.length; i++) {
            proof[i] = (byte) (clientKey[i] ^ signature[i]);
        }
        if (!MessageDigest.isEqual(proof, Base64.getDecoder().decode(fields.get("p")))) {
            throw refused();
        }
        known.add(channel);
        return said("v=" + base64(hmac(hmac(salted, "Server Key"), all)), true);
    }

    private static MongoServerError refused() {
        return new MongoServerError(18, "AuthenticationFailed", "Authentication failed.");
    }

    private static Document said(String text, boolean done) {
        Document answer = new Document("conversationId", 1).append("done", done)
                .append("payload", new BinData(text.getBytes(StandardCharsets.UTF_8)));
        Utils.markOkay(answer);
        return answer;
    }

    private static String text(Document asked) {
        return new String(((BinData) asked.get("payload")).getData(), StandardCharsets.UTF_8);
    }

    private static Map<String, String> fields(String said) {
        return Arrays.stream(said.split(",")).collect(Collectors.toMap(field -> field.substring(0, 1), field -> field.substring(2)));
    }

    private static byte[] hmac(byte[] key, String text) throws GeneralSecurityException {
        Mac mac = Mac.getInstance("HmacSHA256");
        mac.init(new SecretKeySpec(key, "HmacSHA256"));
        return mac.doFinal(text.getBytes(StandardCharsets.UTF_8));
    }

    private static String base64(byte[] bytes) {
        return Base64.getEncoder().encodeToString(bytes);
    }
}
