import java.net.CookieHandler;
import java.net.CookieManager;
import java.net.CookiePolicy;
import java.net.HttpURLConnection;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.security.cert.X509Certificate;
import java.util.ArrayList;
import javax.net.ssl.HttpsURLConnection;
import javax.net.ssl.SSLContext;
import javax.net.ssl.TrustManager;
import javax.net.ssl.X509TrustManager;

/** Sends requests with a cookie jar, and prints their statuses: java Client.java http-client|url-connection URL METHOD:PATH... */
public class Client {
  public static void main(String[] arguments) throws Exception {
    // The certificate of the test is nobody's.
    System.setProperty("jdk.internal.httpclient.disableHostnameVerification", "true");
    SSLContext tls = SSLContext.getInstance("TLS");
    tls.init(null, new TrustManager[] {new TrustsAll()}, null);
    HttpsURLConnection.setDefaultSSLSocketFactory(tls.getSocketFactory());
    HttpsURLConnection.setDefaultHostnameVerifier((host, session) -> true);

    CookieManager jar = new CookieManager(null, CookiePolicy.ACCEPT_ALL);
    CookieHandler.setDefault(jar);
    HttpClient client = HttpClient.newBuilder().cookieHandler(jar).sslContext(tls).build();
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

  private static class TrustsAll implements X509TrustManager {
    public void checkClientTrusted(X509Certificate[] chain, String type) {}

    public void checkServerTrusted(X509Certificate[] chain, String type) {}

    public X509Certificate[] getAcceptedIssuers() {
      return new X509Certificate[0];
    }
  }
}
