package peer;

import com.fasterxml.jackson.core.JsonFactory;
import com.fasterxml.jackson.core.JsonParser;
import com.fasterxml.jackson.core.JsonToken;
import java.io.IOException;
import java.lang.management.ManagementFactory;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.DateTimeException;
import java.time.Duration;
import java.time.OffsetDateTime;
import java.util.HashMap;
import java.util.Map;
import java.util.Properties;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.stream.Stream;
import org.apache.kafka.clients.consumer.ConsumerConfig;
import org.apache.kafka.clients.producer.ProducerConfig;
import org.apache.kafka.common.serialization.Deserializer;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.common.serialization.Serializer;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.KeyValue;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.Topology;
import org.apache.kafka.streams.errors.StreamsUncaughtExceptionHandler;
import org.apache.kafka.streams.kstream.Consumed;
import org.apache.kafka.streams.kstream.Grouped;
import org.apache.kafka.streams.kstream.Materialized;
import org.apache.kafka.streams.kstream.TimeWindows;
import org.apache.kafka.streams.processor.api.Processor;
import org.apache.kafka.streams.processor.api.ProcessorContext;
import org.apache.kafka.streams.processor.api.Record;
import org.apache.kafka.streams.state.KeyValueStore;
import org.apache.kafka.streams.state.Stores;

/**
 * The benchmark's peer: Kafka Streams counts requests and failures by tenant and minute, one thread, changelog and commits on.
 *
 * <p>Arguments: bootstrap, topic, records to count, topology (processor or dsl), state directory. It reads the topic from its
 * beginning until it has counted that many good records, closes (which writes the changelog and commits), and prints one line
 * of JSON: seconds of wall and CPU from when it was assigned its partitions to after the close, and the CPU seconds before.
 *
 * <p>Two topologies. "dsl" is what its manual teaches: group by tenant (through a repartition topic), one-minute windows, an
 * aggregate. "processor" is the fastest that we know how to write: a processor with a store of its own for each source
 * partition, so that no request goes through the broker a second time; somebody would still have to add up the partitions.
 * Both keep their store in memory, with its cache and its changelog. It does less than the monitor does: it reads four fields,
 * knows no portals and two classes only, and drops bad records without keeping them.
 */
public final class Drain {
    private static final long MINUTE_MS = 60_000;
    private static final long AHEAD_MS = 300_000;

    private static long seen;
    private static long wanted;
    private static final CountDownLatch DONE = new CountDownLatch(1);
    private static volatile Throwable failure;

    private Drain() {}

    /** What a record says, as far as it is read. */
    private record Request(String tenant, long minuteMs, boolean failed) {}

    public static void main(String[] args) throws Exception {
        String bootstrap = args[0];
        String topic = args[1];
        wanted = Long.parseLong(args[2]);
        boolean dsl = args[3].equals("dsl");

        Properties properties = new Properties();
        properties.put(StreamsConfig.APPLICATION_ID_CONFIG, args[1] + "-" + args[3] + "-" + ProcessHandle.current().pid());
        properties.put(StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, bootstrap);
        properties.put(StreamsConfig.STATE_DIR_CONFIG, args[4]);
        properties.put(StreamsConfig.NUM_STREAM_THREADS_CONFIG, 1);
        // As often as the monitor writes its frames.
        properties.put(StreamsConfig.COMMIT_INTERVAL_MS_CONFIG, 1000);
        properties.put(StreamsConfig.STATESTORE_CACHE_MAX_BYTES_CONFIG, 256L << 20);
        properties.put(StreamsConfig.consumerPrefix(ConsumerConfig.AUTO_OFFSET_RESET_CONFIG), "earliest");
        properties.put(StreamsConfig.consumerPrefix(ConsumerConfig.MAX_POLL_RECORDS_CONFIG), 10_000);
        properties.put(StreamsConfig.producerPrefix(ProducerConfig.COMPRESSION_TYPE_CONFIG), "lz4");
        properties.put(StreamsConfig.producerPrefix(ProducerConfig.BATCH_SIZE_CONFIG), 256 << 10);
        properties.put(StreamsConfig.producerPrefix(ProducerConfig.LINGER_MS_CONFIG), 50);

        KafkaStreams streams = new KafkaStreams(dsl ? dsl(topic) : processor(topic), properties);
        streams.setUncaughtExceptionHandler(
                error -> {
                    failure = error;
                    DONE.countDown();
                    return StreamsUncaughtExceptionHandler.StreamThreadExceptionResponse.SHUTDOWN_CLIENT;
                });
        long[] ready = new long[2];
        streams.setStateListener(
                (now, before) -> {
                    if (now == KafkaStreams.State.RUNNING && ready[0] == 0) {
                        ready[0] = System.nanoTime();
                        ready[1] = cpu();
                    }
                });
        streams.start();
        boolean inTime = DONE.await(600, TimeUnit.SECONDS);
        streams.close(Duration.ofSeconds(60));
        if (failure != null) {
            throw new IllegalStateException("Kafka Streams stopped after " + seen + " records", failure);
        }
        if (!inTime) {
            throw new IllegalStateException("after 600 s only " + seen + " of " + wanted + " records were seen");
        }
        System.out.printf(
                "{\"requests\":%d,\"wall_s\":%.3f,\"cpu_s\":%.3f,\"cpu_start_s\":%.3f,\"memory_mb\":%d}%n",
                seen, (System.nanoTime() - ready[0]) / 1e9, (cpu() - ready[1]) / 1e9, ready[1] / 1e9, residentMb());
    }

    /** CPU time of this process so far, in nanoseconds. */
    private static long cpu() {
        return ((com.sun.management.OperatingSystemMXBean) ManagementFactory.getOperatingSystemMXBean()).getProcessCpuTime();
    }

    /** What the process holds now, as the kernel says. */
    private static long residentMb() throws IOException {
        try (Stream<String> lines = Files.lines(Path.of("/proc/self/status"))) {
            return lines.filter(line -> line.startsWith("VmRSS:"))
                            .mapToLong(line -> Long.parseLong(line.replaceAll("\\D", "")))
                            .sum()
                    / 1000;
        }
    }

    /** Called by the one stream thread for each request, after it was counted. */
    private static void counted() {
        if (++seen == wanted) {
            DONE.countDown();
        }
    }

    private static Topology processor(String topic) {
        Topology topology = new Topology();
        topology.addSource("requests", Serdes.ByteArray().deserializer(), new Reader(), topic);
        topology.addProcessor("count", Count::new, "requests");
        topology.addStateStore(
                Stores.keyValueStoreBuilder(Stores.inMemoryKeyValueStore("minutes"), Serdes.String(), Serdes.ByteArray())
                        .withCachingEnabled()
                        .withLoggingEnabled(Map.of()),
                "count");
        return topology;
    }

    private static final class Count implements Processor<byte[], Request, Void, Void> {
        private KeyValueStore<String, byte[]> minutes;

        @Override
        public void init(ProcessorContext<Void, Void> context) {
            minutes = context.getStateStore("minutes");
        }

        @Override
        public void process(Record<byte[], Request> record) {
            Request request = record.value();
            if (request != null) {
                String key = request.tenant + '\0' + request.minuteMs;
                minutes.put(key, add(minutes.get(key), request.failed));
                counted();
            }
        }
    }

    private static Topology dsl(String topic) {
        StreamsBuilder builder = new StreamsBuilder();
        builder.stream(
                        topic,
                        Consumed.with(Serdes.ByteArray(), Serdes.serdeFrom(new Unwritten(), new Reader()))
                                // A bad record has no time of its own; it is dropped in the next step.
                                .withTimestampExtractor(
                                        (record, partitionTime) ->
                                                record.value() instanceof Request request
                                                        ? request.minuteMs
                                                        : record.timestamp()))
                .filter((key, request) -> request != null)
                .map((key, request) -> KeyValue.pair(request.tenant, new byte[] {(byte) (request.failed ? 1 : 0)}))
                .groupByKey(Grouped.with(Serdes.String(), Serdes.ByteArray()))
                .windowedBy(TimeWindows.ofSizeAndGrace(Duration.ofMillis(MINUTE_MS), Duration.ofDays(1)))
                .aggregate(
                        () -> new byte[16],
                        (tenant, value, sum) -> {
                            counted();
                            return add(sum, value[0] == 1);
                        },
                        Materialized.<String, byte[]>as(
                                        Stores.inMemoryWindowStore(
                                                "minutes", Duration.ofDays(2), Duration.ofMillis(MINUTE_MS), false))
                                .withKeySerde(Serdes.String())
                                .withValueSerde(Serdes.ByteArray())
                                .withCachingEnabled());
        return builder.build();
    }

    /** Two counts, big-endian: requests and failures. */
    private static byte[] add(byte[] sum, boolean failed) {
        ByteBuffer before = sum == null ? ByteBuffer.allocate(16) : ByteBuffer.wrap(sum);
        return ByteBuffer.allocate(16)
                .putLong(before.getLong(0) + 1)
                .putLong(before.getLong(8) + (failed ? 1 : 0))
                .array();
    }

    /** Reads the four fields that count, by Jackson's streaming parser; the minute's text is parsed once and remembered. */
    private static final class Reader implements Deserializer<Request> {
        private final JsonFactory json = new JsonFactory();
        private final Map<String, Long> minutes = new HashMap<>();

        /** The request, or null when the record is bad. */
        @Override
        public Request deserialize(String topic, byte[] value) {
            String tenant = null;
            String time = null;
            String outcome = null;
            String fault = null;
            try (JsonParser parser = json.createParser(value)) {
                if (parser.nextToken() != JsonToken.START_OBJECT) {
                    return null;
                }
                while (parser.nextToken() == JsonToken.FIELD_NAME) {
                    String name = parser.currentName();
                    parser.nextToken();
                    switch (name) {
                        case "tenant" -> tenant = parser.getText();
                        case "time" -> time = parser.getText();
                        case "outcome" -> outcome = parser.getText();
                        case "fault" -> fault = parser.getText();
                        default -> parser.skipChildren();
                    }
                }
                boolean failed = "failure".equals(outcome);
                if (time == null || time.length() < 20 || !(failed || "success".equals(outcome)) || !isName(tenant)) {
                    return null;
                }
                String text = time.substring(0, 16);
                Long minute = time.endsWith("Z") ? minutes.get(text) : null;
                if (minute == null) {
                    minute = OffsetDateTime.parse(time).toInstant().toEpochMilli() / MINUTE_MS * MINUTE_MS;
                    if (time.endsWith("Z")) {
                        minutes.put(text, minute);
                    }
                }
                return minute > System.currentTimeMillis() + AHEAD_MS
                        ? null
                        : new Request(tenant, minute, failed && "server".equals(fault));
            } catch (IOException | DateTimeException error) {
                return null;
            }
        }

        private static boolean isName(String tenant) {
            if (tenant == null || tenant.isEmpty() || tenant.length() > 64) {
                return false;
            }
            for (int at = 0; at < tenant.length(); at++) {
                char c = tenant.charAt(at);
                if (!(c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '_' || c == '-')) {
                    return false;
                }
            }
            return true;
        }
    }

    /** A serde needs one; nothing writes requests. */
    private static final class Unwritten implements Serializer<Request> {
        @Override
        public byte[] serialize(String topic, Request request) {
            throw new UnsupportedOperationException("requests are only read");
        }
    }
}
