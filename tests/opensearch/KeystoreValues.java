import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.nio.file.Path;
import java.util.TreeSet;
import org.opensearch.common.settings.KeyStoreWrapper;

/** Prints what the keystore in a folder holds, which opensearch-keystore never does: for tests. */
public class KeystoreValues {
  public static void main(String[] arguments) throws Exception {
    String password = new BufferedReader(new InputStreamReader(System.in)).readLine();
    try (KeyStoreWrapper keystore = KeyStoreWrapper.load(Path.of(arguments[0]))) {
      keystore.decrypt((password == null ? "" : password).toCharArray());
      for (String name : new TreeSet<>(keystore.getSettingNames())) {
        if (!name.equals("keystore.seed")) {
          System.out.println(name + "=" + keystore.getString(name));
        }
      }
    }
  }
}
