# Reads a configuration of symmetric-encryption as the gem does, and prints its keys as JSON.
# Arguments: the file, the environment.
require "json"
require_relative "../parts/applications/cipher_list"

ciphers = cipher_list(File.read(ARGV[0]), ARGV[1]).map do |each|
  each.merge(iv: each[:iv].unpack1("H*"), key: each[:key].unpack1("H*"))
end
puts JSON.generate(ciphers)
