// A client in Java, with Google's own gRPC for Java over Netty: the same program as client.go, see there.
//
//	java -cp "$JARS" Client.java HOST:PORT < exchanges.json

import com.google.gson.Gson;
import com.google.gson.reflect.TypeToken;
import io.grpc.CallOptions;
import io.grpc.ClientCall;
import io.grpc.ManagedChannel;
import io.grpc.ManagedChannelBuilder;
import io.grpc.Metadata;
import io.grpc.MethodDescriptor;
import io.grpc.Status;
import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.io.InputStreamReader;
import java.io.UncheckedIOException;
import java.util.ArrayList;
import java.util.Base64;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;

public final class Client {
  static final class Exchange {
    String method;
    List<String> messages;
    int calls;
    boolean streams, cancels, gzip;
    int timeout_ms;
  }

  static final class Result {
    String code, detail;
    List<String> replies = new ArrayList<>();
  }

  /** Messages as they are. */
  static final class Bytes implements MethodDescriptor.Marshaller<byte[]> {
    public InputStream stream(byte[] message) {
      return new ByteArrayInputStream(message);
    }

    public byte[] parse(InputStream message) {
      try {
        return message.readAllBytes();
      } catch (IOException error) {
        throw new UncheckedIOException(error);
      }
    }
  }

  static CompletableFuture<Result> call(ManagedChannel channel, Exchange asked) {
    MethodDescriptor<byte[], byte[]> method =
        MethodDescriptor.<byte[], byte[]>newBuilder(new Bytes(), new Bytes())
            .setFullMethodName(asked.method.substring(1))
            .setType(asked.streams ? MethodDescriptor.MethodType.BIDI_STREAMING : MethodDescriptor.MethodType.UNARY)
            .build();
    CallOptions options = CallOptions.DEFAULT.withDeadlineAfter(asked.timeout_ms, TimeUnit.MILLISECONDS);
    if (asked.gzip) {
      options = options.withCompression("gzip");
    }
    ClientCall<byte[], byte[]> call = channel.newCall(method, options);
    Result result = new Result();
    CompletableFuture<Result> ended = new CompletableFuture<>();
    call.start(
        new ClientCall.Listener<byte[]>() {
          @Override
          public void onMessage(byte[] reply) {
            result.replies.add(Base64.getEncoder().encodeToString(reply));
            call.request(1);
          }

          @Override
          public void onClose(Status status, Metadata trailers) {
            result.code = status.getCode().name();
            result.detail = status.getDescription() == null ? "" : status.getDescription();
            ended.complete(result);
          }
        },
        new Metadata());
    call.request(2);
    for (String message : asked.messages) {
      call.sendMessage(Base64.getDecoder().decode(message));
    }
    call.halfClose();
    if (asked.cancels) {
      call.cancel("enough", null);
    }
    return ended;
  }

  public static void main(String[] arguments) throws Exception {
    Map<String, Exchange> exchanges =
        new Gson().fromJson(new InputStreamReader(System.in), new TypeToken<TreeMap<String, Exchange>>() {}.getType());
    ManagedChannel channel =
        ManagedChannelBuilder.forTarget(arguments[0]).usePlaintext().maxInboundMessageSize(1 << 28).build();
    Map<String, List<Result>> results = new TreeMap<>();
    for (Map.Entry<String, Exchange> exchange : exchanges.entrySet()) {
      List<CompletableFuture<Result>> calls = new ArrayList<>();
      for (int place = 0; place < exchange.getValue().calls; place++) {
        calls.add(call(channel, exchange.getValue()));
      }
      List<Result> ended = new ArrayList<>();
      for (CompletableFuture<Result> one : calls) {
        ended.add(one.get(60, TimeUnit.SECONDS));
      }
      results.put(exchange.getKey(), ended);
    }
    channel.shutdownNow().awaitTermination(10, TimeUnit.SECONDS);
    System.out.println(new Gson().toJson(results));
  }
}
