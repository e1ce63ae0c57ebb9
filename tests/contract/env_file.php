<?php
// Prints what PHP reads from a file of NAME=value lines, as JSON.
echo json_encode(parse_ini_file($argv[1], false, INI_SCANNER_RAW)), "\n";
