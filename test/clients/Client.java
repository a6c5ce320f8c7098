import java.net.CookieHandler;
import java.net.CookieManager;
import java.net.CookiePolicy;
import java.net.HttpURLConnection;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.util.ArrayList;

/** Sends requests with a cookie jar, and prints their statuses: java Client.java http-client|url-connection URL METHOD:PATH... */
public class Client {
  public static void main(String[] arguments) throws Exception {
    CookieManager jar = new CookieManager(null, CookiePolicy.ACCEPT_ALL);
    CookieHandler.setDefault(jar);
    HttpClient client = HttpClient.newBuilder().cookieHandler(jar).build();
    ArrayList<String> statuses = new ArrayList<>();
    for (int i = 2; i < arguments.length; i++) {
      String[] step = arguments[i].split(":");
      URI uri = URI.create(arguments[1] + step[1]);
      int status;
      if (arguments[0].equals("http-client")) {
        HttpRequest.BodyPublisher none = HttpRequest.BodyPublishers.noBody();
        HttpRequest request = HttpRequest.newBuilder(uri).method(step[0], none).build();
        status = client.send(request, HttpResponse.BodyHandlers.ofString()).statusCode();
      } else {
        HttpURLConnection connection = (HttpURLConnection) uri.toURL().openConnection();
        connection.setRequestMethod(step[0]);
        status = connection.getResponseCode();
        connection.disconnect();
      }
      statuses.add(String.valueOf(status));
    }
    System.out.println(String.join(" ", statuses));
  }
}
