import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Proxy;
import java.net.InetSocketAddress;
import java.nio.file.Path;
import java.time.Instant;
import java.util.List;
import java.util.Set;
import java.util.stream.Collectors;

import org.h2.mvstore.MVStore;

import de.bwaldvogel.mongo.MongoBackend;
import de.bwaldvogel.mongo.MongoCollection;
import de.bwaldvogel.mongo.MongoServer;
import de.bwaldvogel.mongo.MongoVersion;
import de.bwaldvogel.mongo.backend.Cursor;
import de.bwaldvogel.mongo.backend.Utils;
import de.bwaldvogel.mongo.backend.aggregation.Aggregation;
import de.bwaldvogel.mongo.backend.h2.H2Backend;
import de.bwaldvogel.mongo.backend.memory.MemoryBackend;
import de.bwaldvogel.mongo.bson.BsonTimestamp;
import de.bwaldvogel.mongo.bson.Document;
import de.bwaldvogel.mongo.exception.MongoServerError;
import de.bwaldvogel.mongo.oplog.Oplog;
import de.bwaldvogel.mongo.oplog.OplogPosition;
import de.bwaldvogel.mongo.wire.message.MongoMessage;
import io.netty.channel.Channel;

/** A server of the MongoDB wire protocol for tests. See README.md. */
public final class Server {
    private static final String USAGE =
            "usage: Server [--port PORT] [--file PATH] [--change-streams] [--forget-changes]"
            + " [--user NAME:PASSWORD] [--tls CERTIFICATE]";

    private static final Set<String> WRITES = Set.of("insert", "update", "delete", "findAndModify", "createIndexes",
            "dropIndexes", "create", "drop", "dropDatabase", "renameCollection");

    /** How long a change stream is held open with nothing to say. A real server waits a second;
     *  here the waiting holds up connections that share its thread. */
    private static final long HOLD_MILLIS = 100;

    /** More threads than a test has connections, most of the time. */
    private static final int THREADS = 64;

    /** What the library knows by name is too old for today's drivers. */
    private static final MongoVersion VERSION = new MongoVersion() {
        @Override
        public List<Integer> getVersionArray() {
            return List.of(5, 0, 0);
        }

        @Override
        public int getWireVersion() {
            return 13;
        }
    };

    private final MongoBackend backend;
    private final Runnable commit;
    private final boolean changeStreams;
    /** Resume tokens that are no younger are refused. */
    private final OplogPosition forgotten;
    /** Who may use it; null for anybody. */
    private final Users users;

    private Server(MongoBackend backend, Runnable commit, boolean changeStreams, Instant forgotten, Users users) {
        this.backend = backend;
        this.commit = commit;
        this.changeStreams = changeStreams;
        this.forgotten = new OplogPosition(new BsonTimestamp(forgotten, Integer.MAX_VALUE));
        this.users = users;
    }

    public static void main(String[] args) throws Exception {
        int port = 0;
        String file = null;
        boolean changeStreams = false;
        Instant forgotten = Instant.EPOCH;
        Users users = null;
        Path certificate = null;
        for (int i = 0; i < args.length; i++) {
            boolean last = i + 1 == args.length;
            if (args[i].equals("--change-streams")) {
                changeStreams = true;
            } else if (args[i].equals("--forget-changes")) {
                forgotten = Instant.now();
            } else if (args[i].equals("--port") && !last) {
                port = Integer.parseInt(args[++i]);
            } else if (args[i].equals("--file") && !last) {
                file = args[++i];
            } else if (args[i].equals("--user") && !last) {
                users = new Users(args[++i]);
            } else if (args[i].equals("--tls") && !last) {
                certificate = Path.of(args[++i]);
            } else {
                System.err.println(USAGE);
                System.exit(2);
            }
        }

        Server server;
        if (file == null) {
            server = new Server(new MemoryBackend() {
                @Override
                protected Oplog createOplog() {
                    return new TrueOplog(super.createOplog(), this);
                }
            }, () -> { }, changeStreams, forgotten, users);
        } else {
            // A position in the oplog is a second and a count that begins anew with each process.
            Thread.sleep(1000 - System.currentTimeMillis() % 1000);
            // The store's own commits, made by a timer, might keep half a write and lose a whole one.
            MVStore store = new MVStore.Builder().fileName(file).autoCommitDisabled().open();
            server = new Server(new H2Backend(store) {
                @Override
                protected Oplog createOplog() {
                    return new TrueOplog(super.createOplog(), this);
                }
            }, store::commit, changeStreams, forgotten, users);
        }
        server.serve(port, certificate);
    }

    /** With a certificate, whose file is written, by TLS. */
    private void serve(int port, Path certificate) throws Exception {
        backend.version(VERSION);
        if (changeStreams) {
            backend.enableOplog();
        }
        MongoServer server = new MongoServer(intercepted());
        if (certificate != null) {
            Certificate made = Certificate.make();
            made.write(certificate);
            server.enableSsl(made.key(), null, made.certificate());
        }
        server.bind(new InetSocketAddress("127.0.0.1", port), 1, THREADS);
        System.out.println(server.getLocalAddress().getPort());
    }

    /** The backend, whose messages go through {@link #handle}. */
    private MongoBackend intercepted() {
        Class<?>[] interfaces = {MongoBackend.class};
        return (MongoBackend) Proxy.newProxyInstance(Server.class.getClassLoader(), interfaces, (self, method, args) -> {
            if (method.getName().equals("handleMessage")) {
                return handle((MongoMessage) args[0]);
            }
            if (method.getName().equals("handleClose") && users != null) {
                users.left((Channel) args[0]);
            }
            try {
                return method.invoke(backend, args);
            } catch (InvocationTargetException e) {
                throw e.getCause();
            }
        });
    }

    private Document handle(MongoMessage message) throws InterruptedException {
        Document document = message.getDocument();
        String command = document.keySet().iterator().next();
        Document answer = users == null ? null : users.answer(message.getChannel(), command, document);
        if (answer != null) {
            return answer;
        }
        if (WRITES.contains(command)) {
            return write(message, command);
        }
        if (command.equals("getMore")) {
            return await(message);
        }
        if (command.equals("aggregate")) {
            refuse(document);
        }
        return read(message);
    }

    /** The library's answers hold the documents themselves, and are encoded after a write may have changed them: an
     *  answer that fails there is never sent. A copy is made while nobody writes. */
    private synchronized Document read(MongoMessage message) {
        return backend.handleMessage(message).cloneDeeply();
    }

    /** Refuses the change streams that a real server would refuse, and in its words. */
    private void refuse(Document aggregate) {
        List<?> pipeline = (List<?>) aggregate.get("pipeline");
        Document stream = pipeline.isEmpty() ? null : (Document) ((Document) pipeline.get(0)).get("$changeStream");
        if (stream == null) {
            return;
        }
        if (!changeStreams) {
            throw new MongoServerError(40573, "Location40573",
                    "The $changeStream stage is only supported on replica sets");
        }
        Document token = (Document) stream.getOrDefault("resumeAfter", stream.get("startAfter"));
        if (token != null && !OplogPosition.fromDocument(token).isAfter(forgotten)) {
            throw new MongoServerError(286, "ChangeStreamHistoryLost",
                    "Resume of change stream was not possible, as the resume point may no longer be in the oplog");
        }
    }

    /** One at a time: a change stream that saw the later of two changes would never show the
     *  earlier one. What was answered is kept in the file. */
    private synchronized Document write(MongoMessage message, String command) {
        try {
            return command.equals("findAndModify") ? new Modification(message).run() : backend.handleMessage(message);
        } finally {
            commit.run();
            notifyAll();
        }
    }

    /** The library's own findAndModify is hidden from change streams. */
    private final class Modification {
        private final MongoMessage message;
        private final Document asked;
        private final String collection;

        Modification(MongoMessage message) {
            this.message = message;
            asked = message.getDocument();
            collection = (String) asked.get("findAndModify");
        }

        Document run() {
            if (asked.containsKey("fields")) {
                throw new MongoServerError(238, "NotImplemented",
                        "findAndModify: support for field \"fields\" is not implemented yet");
            }
            boolean remove = Utils.isTrue(asked.get("remove"));
            Document query = (Document) asked.getOrDefault("query", new Document());
            Document before = first(query);
            Document value = before;
            Document last = new Document("n", before == null ? 0 : 1);
            if (before == null && !Utils.isTrue(asked.get("upsert"))) {
                last.append("updatedExisting", false);
            } else if (remove) {
                Document delete = new Document("q", identity(before)).append("limit", 1);
                write("delete", "deletes", delete);
            } else {
                Document update = new Document("q", before == null ? query : identity(before))
                        .append("u", asked.get("update")).append("upsert", before == null);
                if (asked.containsKey("arrayFilters")) {
                    update.append("arrayFilters", asked.get("arrayFilters"));
                }
                Document answer = write("update", "updates", update);
                Document identity = before == null
                        ? new Document("_id", ((Document) ((List<?>) answer.get("upserted")).get(0)).get("_id"))
                        : identity(before);
                last.append("n", 1).append("updatedExisting", before != null);
                if (before == null) {
                    last.append("upserted", identity.get("_id"));
                }
                value = Utils.isTrue(asked.get("new")) ? first(identity) : value;
            }
            Document answer = new Document("lastErrorObject", last).append("value", value);
            Utils.markOkay(answer);
            return answer;
        }

        private Document identity(Document document) {
            return new Document("_id", document.get("_id"));
        }

        private Document first(Document filter) {
            Document find = new Document("find", collection).append("filter", filter).append("limit", 1);
            if (asked.containsKey("sort")) {
                find.append("sort", asked.get("sort"));
            }
            Document cursor = (Document) run(find).get("cursor");
            List<?> found = (List<?>) cursor.get("firstBatch");
            return found.isEmpty() ? null : ((Document) found.get(0)).cloneDeeply();
        }

        private Document write(String command, String list, Document one) {
            Document answer = run(new Document(command, collection).append(list, List.of(one)));
            List<?> errors = (List<?>) answer.get("writeErrors");
            if (errors != null && !errors.isEmpty()) {
                Document error = (Document) errors.get(0);
                throw new MongoServerError((Integer) error.get("code"), (String) error.get("codeName"),
                        (String) error.get("errmsg"));
            }
            return answer;
        }

        private Document run(Document command) {
            String name = command.keySet().iterator().next();
            return backend.handleCommand(message.getChannel(), message.getDatabaseName(), name, command);
        }
    }

    /** What change streams show. The library's own shows documents whose insertion was refused, and
     *  does not say which document was updated. */
    private record TrueOplog(Oplog oplog, MongoBackend backend) implements Oplog {
        @Override
        public void handleInsert(String namespace, List<Document> documents) {
            oplog.handleInsert(namespace, documents.stream()
                    .filter(document -> isThere(namespace, document)).collect(Collectors.toList()));
        }

        private boolean isThere(String namespace, Document document) {
            MongoCollection<?> collection = backend.resolveDatabase(Utils.getDatabaseNameFromFullName(namespace))
                    .resolveCollection(Utils.getCollectionNameFromFullName(namespace), true);
            Document identity = new Document("_id", document.get("_id"));
            return collection.handleQueryAsStream(identity).anyMatch(document::equals);
        }

        @Override
        public void handleUpdate(String namespace, Document selector, Document update, List<Object> ids) {
            for (Object id : ids) {
                // What is said to be the update is shown as the document's key.
                oplog.handleUpdate(namespace, selector, new Document("_id", id), List.of(id));
            }
        }

        @Override
        public void handleDelete(String namespace, Document query, List<Object> ids) {
            oplog.handleDelete(namespace, query, ids);
        }

        @Override
        public void handleDropCollection(String namespace) {
            oplog.handleDropCollection(namespace);
        }

        @Override
        public Cursor createCursor(Document stream, String namespace, Aggregation aggregation) {
            return oplog.createCursor(stream, namespace, aggregation);
        }
    }

    /** The library answers at once that there is nothing, and a driver asks again at once. */
    private synchronized Document await(MongoMessage message) throws InterruptedException {
        long end = System.nanoTime() + HOLD_MILLIS * 1_000_000;
        while (true) {
            Document answer = read(message);
            Document cursor = (Document) answer.get("cursor");
            long left = (end - System.nanoTime()) / 1_000_000;
            boolean over = ((Number) cursor.get("id")).longValue() == 0;
            if (over || left <= 0 || !((List<?>) cursor.get("nextBatch")).isEmpty()) {
                return answer;
            }
            wait(left);
        }
    }
}
