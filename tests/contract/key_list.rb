# Prints the list of keys that Rails would read from a YAML file, and the one that encrypts.
require "json"
require "yaml"

document = YAML.safe_load(File.read(ARGV[0]))
keys = Array(document.dig("active_record_encryption", "primary_key"))
puts JSON.generate(keys: keys, encrypts: keys.last)
