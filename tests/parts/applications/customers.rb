# An application whose values have symmetric-encryption's header: base64 of "@EnC", version, flags,
# iv, and AES-256-CBC. Arguments: port, cipher list, which is read once, at start. psql finds the
# database by PGHOST and so on. GET / answers every value, PUT /NUMBER stores one, and GET /keys
# answers the SHA-256 of the file that was read.
require "base64"
require "digest"
require "json"
require "open3"
require "socket"
require_relative "cipher_list"

WITH_IV = 0x40

class Ciphers
  attr_reader :hash

  def initialize(path)
    text = File.read(path)
    @hash = Digest::SHA256.hexdigest(text)
    @ciphers = cipher_list(text, "production")
  end

  def encrypt(text)
    first = @ciphers.first
    cipher = OpenSSL::Cipher.new(first[:cipher]).encrypt
    cipher.key = first[:key]
    iv = cipher.random_iv
    header = "@EnC".b + [first[:version], WITH_IV, iv.bytesize].pack("CCS<") + iv
    Base64.strict_encode64(header + cipher.update(text) + cipher.final)
  end

  def decrypt(stored)
    data = Base64.strict_decode64(stored)
    magic, version, flags, length = data.unpack("a4CCS<")
    raise "not of this form" unless magic == "@EnC" && flags == WITH_IV

    named = @ciphers.find { |each| each[:version] == version } or raise "no cipher #{version}"
    cipher = OpenSSL::Cipher.new(named[:cipher]).decrypt
    cipher.key = named[:key]
    cipher.iv = data[8, length]
    (cipher.update(data[8 + length..]) + cipher.final).force_encoding("UTF-8")
  end
end

# The lines of the answer; :'name' in the statement is what is told under that name.
def sql(statement, told = {})
  variables = told.flat_map { |name, value| ["-v", "#{name}=#{value}"] }
  out, status = Open3.capture2("psql", "-XqAt", "-v", "ON_ERROR_STOP=1", *variables, stdin_data: statement)
  raise "psql failed" unless status.success?

  out.lines(chomp: true)
end

def values(ciphers)
  sql("select id, email from customers order by id").map do |line|
    id, stored = line.split("|", 2)
    ciphers.decrypt(stored)
  rescue StandardError => e
    raise "row #{id}: #{e.message}"
  end
end

def answer(ciphers, method, path, body)
  if method == "PUT"
    sql("insert into customers (id, email) values (:'id', :'value')",
        id: path.delete_prefix("/"), value: ciphers.encrypt(body))
    return ""
  end
  path == "/keys" ? ciphers.hash : JSON.generate(values(ciphers))
end

def serve(client, ciphers)
  method, path, = client.gets.split
  length = 0
  while (line = client.gets.chomp) != ""
    length = line.split(":")[1].to_i if line.downcase.start_with?("content-length:")
  end
  body = client.read(length)
  begin
    code, text = 200, answer(ciphers, method, path, body)
  rescue StandardError => e
    code, text = 500, e.message
  end
  client.write("HTTP/1.1 #{code} -\r\nContent-Length: #{text.bytesize}\r\nConnection: close\r\n\r\n#{text}")
ensure
  client.close
end

ciphers = Ciphers.new(ARGV[1])
server = TCPServer.new("127.0.0.1", ARGV[0].to_i)
loop { serve(server.accept, ciphers) }
