import java.net.InetAddress;
import java.net.InetSocketAddress;
import org.eclipse.jetty.server.Server;
import software.amazon.dynamodb.services.local.server.LocalDynamoDBRequestHandler;
import software.amazon.dynamodb.services.local.server.LocalDynamoDBServerHandler;

/** DynamoDB Local in memory, on loopback only: its own main class listens everywhere. */
class Loopback {
  public static void main(String[] arguments) throws Exception {
    var inMemory = true;
    var shared = true; // one set of tables, whatever the credentials
    var tables = new LocalDynamoDBRequestHandler(0, inMemory, null, shared, false);
    var port = Integer.parseInt(arguments[0]);
    var server = new Server(new InetSocketAddress(InetAddress.getLoopbackAddress(), port));
    server.setHandler(new LocalDynamoDBServerHandler(tables, null));
    server.start();
    server.join();
  }
}
