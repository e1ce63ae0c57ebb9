<?php
// An application whose values name their key by its slot: v1: and base64 of nonce and secretbox.
// Run by php -S. PSAP_KEY_V1, PSAP_KEY_V2 (base64) and PSAP_KEY_VERSION are those that the process
// was started with; psql finds the database by PGHOST and so on.
// GET / answers every value, PUT /NUMBER stores one in both tables.
declare(strict_types=1);

const TABLES = ["incidents" => "description", "incident_communications" => "body"];

function slot_key(string $slot): string
{
    $key = base64_decode((string) getenv("PSAP_KEY_" . strtoupper($slot)), true);
    if ($key === false || strlen($key) !== SODIUM_CRYPTO_SECRETBOX_KEYBYTES) {
        throw new RuntimeException("slot $slot has no key");
    }
    return $key;
}

function encrypt(string $text): string
{
    $slot = (string) getenv("PSAP_KEY_VERSION");
    $nonce = random_bytes(SODIUM_CRYPTO_SECRETBOX_NONCEBYTES);
    return "$slot:" . base64_encode($nonce . sodium_crypto_secretbox($text, $nonce, slot_key($slot)));
}

function decrypt(string $stored): string
{
    [$slot, $text] = explode(":", $stored, 2);
    $sealed = base64_decode($text, true);
    $nonce = substr($sealed, 0, SODIUM_CRYPTO_SECRETBOX_NONCEBYTES);
    $body = substr($sealed, SODIUM_CRYPTO_SECRETBOX_NONCEBYTES);
    $opened = sodium_crypto_secretbox_open($body, $nonce, slot_key($slot));
    if ($opened === false) {
        throw new RuntimeException("slot $slot has another key");
    }
    return $opened;
}

/** The lines of what psql answers; :'name' in the statement is what is told under that name. */
function sql(string $statement, array $told = []): array
{
    $command = ["psql", "-XqAt", "-v", "ON_ERROR_STOP=1"];
    foreach ($told as $name => $value) {
        array_push($command, "-v", "$name=$value");
    }
    $process = proc_open($command, [["pipe", "r"], ["pipe", "w"], ["file", "/dev/null", "w"]], $pipes);
    fwrite($pipes[0], $statement);
    fclose($pipes[0]);
    $said = stream_get_contents($pipes[1]);
    if (proc_close($process) !== 0) {
        throw new RuntimeException("psql failed");
    }
    return $said === "" ? [] : explode("\n", rtrim($said, "\n"));
}

function values(): array
{
    $found = [];
    foreach (TABLES as $table => $column) {
        foreach (sql("select id, $column from $table order by id") as $line) {
            [$id, $stored] = explode("|", $line, 2);
            try {
                $found[] = decrypt($stored);
            } catch (RuntimeException $error) {
                throw new RuntimeException("$table $id: " . $error->getMessage());
            }
        }
    }
    return $found;
}

try {
    $path = $_SERVER["REQUEST_URI"];
    if ($_SERVER["REQUEST_METHOD"] === "PUT") {
        $text = file_get_contents("php://input");
        foreach (TABLES as $table => $column) {
            sql(
                "insert into $table (id, $column) values (:'id', :'value')",
                ["id" => substr($path, 1), "value" => encrypt("$text in $table")],
            );
        }
    } elseif ($path === "/") {
        echo json_encode(values());
    }
} catch (RuntimeException $error) {
    http_response_code(500);
    echo $error->getMessage();
}
