// The versioned AES-256-GCM objects of a Node application, by Node's own crypto.
// Reads {"op","key","value"} lines from standard input and writes one JSON line for each.
const { createCipheriv, createDecipheriv, randomBytes } = require("node:crypto");
const { createInterface } = require("node:readline");

function encrypt(key, keyVersion, plaintext) {
  const iv = randomBytes(16);
  const cipher = createCipheriv("aes-256-gcm", key, iv);
  const ciphertext = cipher.update(plaintext, "utf8", "hex") + cipher.final("hex");
  const authTag = cipher.getAuthTag().toString("hex");
  return JSON.stringify({ keyVersion, iv: iv.toString("hex"), authTag, ciphertext });
}

function decrypt(key, stored) {
  const { iv, authTag, ciphertext } = JSON.parse(stored);
  const decipher = createDecipheriv("aes-256-gcm", key, Buffer.from(iv, "hex"));
  decipher.setAuthTag(Buffer.from(authTag, "hex"));
  return decipher.update(ciphertext, "hex", "utf8") + decipher.final("utf8");
}

createInterface({ input: process.stdin }).on("line", (line) => {
  const { op, key, version, value } = JSON.parse(line);
  const secret = Buffer.from(key, "hex");
  const done = op === "encrypt" ? encrypt(secret, version, value) : decrypt(secret, value);
  console.log(JSON.stringify(done));
});
