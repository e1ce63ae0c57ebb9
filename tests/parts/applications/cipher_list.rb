# The cipher list of symmetric-encryption, read as the gem does.
require "openssl"
require "yaml"

def symbolized(value)
  case value
  when Hash then value.to_h { |name, inner| [name.to_s.delete_prefix(":").to_sym, symbolized(inner)] }
  when Array then value.map { |inner| symbolized(inner) }
  else value
  end
end

def decrypted(kek, iv, data)
  cipher = OpenSSL::Cipher.new("aes-256-cbc").decrypt
  cipher.key = kek
  cipher.iv = iv
  cipher.update(data) + cipher.final
end

def key_file(path)
  raise "#{path} is for others, too" unless [0o600, 0o400].include?(File.stat(path).mode & 0o777)
  raise "#{path} is another user's" unless File.owned?(path)

  File.binread(path)
end

def key_of(entry)
  data = entry[:encrypted_key] || key_file(entry[:key_filename])
  above = entry[:key_encrypting_key]
  above ? decrypted(key_of(above), above[:iv], data) : data
end

# The ciphers of an environment, of which the first encrypts: version, cipher, iv and key.
def cipher_list(text, environment)
  document = symbolized(YAML.safe_load(text, permitted_classes: [Symbol]))
  document.fetch(environment.to_sym).fetch(:ciphers).map do |entry|
    raise "keystore" unless entry[:keystore].to_s.delete_prefix(":") == "file"

    { version: entry[:version], cipher: entry[:cipher_name], iv: entry[:iv], key: key_of(entry) }
  end
end
