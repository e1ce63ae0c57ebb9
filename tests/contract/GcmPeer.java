// AES/GCM/NoPadding of Java, as WSO2's servers use it.
// Reads "key iv ciphertext" in base64 from each line of standard input and writes the plaintext.
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.util.Base64;
import javax.crypto.Cipher;
import javax.crypto.spec.GCMParameterSpec;
import javax.crypto.spec.SecretKeySpec;

public class GcmPeer {
  public static void main(String[] args) throws Exception {
    BufferedReader lines = new BufferedReader(new InputStreamReader(System.in));
    Base64.Decoder decoder = Base64.getDecoder();
    for (String line = lines.readLine(); line != null; line = lines.readLine()) {
      String[] parts = line.split(" ");
      SecretKeySpec key = new SecretKeySpec(decoder.decode(parts[0]), "AES");
      Cipher cipher = Cipher.getInstance("AES/GCM/NoPadding");
      cipher.init(Cipher.DECRYPT_MODE, key, new GCMParameterSpec(128, decoder.decode(parts[1])));
      byte[] plaintext = cipher.doFinal(decoder.decode(parts[2]));
      System.out.println(Base64.getEncoder().encodeToString(plaintext));
    }
  }
}
