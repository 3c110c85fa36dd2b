<?php
// Reads the identity headers of keyward, with PHP alone.
//
// They are true only if nothing but keyward can connect. So this is started on 127.0.0.1, with
// keyward on the same machine or in the same pod. Elsewhere a network policy or a firewall must see
// to it: README.md, "Let nothing come past keyward".

// What keyward writes: visible ASCII, with the space, % and all else as %XX of their UTF-8. PHP
// joins two fields of one name by a comma: here a comma (in a subject such as "cn=a,dc=b") is
// refused, as it may be two.
const WRITTEN = '/\A([!-$&-+\--~]|%[0-9A-Fa-f]{2})*\z/';

header('Content-Type: text/plain; charset=utf-8');

function refuse(int $status, string $text): never
{
    http_response_code($status);
    if ($status === 401) {
        header('WWW-Authenticate: Bearer');
    }
    exit("$text\n");
}

// The value of a field that keyward sends once or, if the token does not say it, not at all.
function one(string $name): ?string
{
    // X_Keyward_Subject has the same key. keyward removes each spelling of its names.
    $value = $_SERVER['HTTP_' . strtoupper(strtr($name, '-', '_'))] ?? null;
    $decoded = $value === null ? null : rawurldecode($value); // urldecode changes "+"
    if ($value !== null && (!preg_match(WRITTEN, $value) || !preg_match('//u', $decoded))) {
        refuse(500, "$name is not as keyward sends it"); // of two, none is guessed to be right
    }
    return $decoded === '' ? null : $decoded; // an empty one is none; "0" is not empty
}

function caller(): array
{
    global $caller;
    // "0" is a subject, and false to PHP.
    return $caller['Subject'] !== null ? $caller : refuse(401, 'this needs a caller');
}

foreach (['Subject', 'Username', 'Organization', 'Role'] as $name) {
    $caller[$name] = one("X-Keyward-$name");
}
// The id leads to keyward's access log. JSON escapes what a subject may hold.
error_log('request_id=' . one('X-Request-Id') . ' subject=' . json_encode($caller['Subject']));

switch ($_SERVER['REQUEST_METHOD'] . ' ' . parse_url($_SERVER['REQUEST_URI'], PHP_URL_PATH)) {
    case 'GET /whoami':
        caller();
        // and on, as there is a caller
    case 'GET /public/whoami':
        foreach (array_filter($caller, 'is_string') as $name => $value) {
            echo "$name: $value\n";
        }
        if ($caller['Subject'] === null) {
            echo "nobody\n";
        }
        break;
    case 'GET /admin/report':
        if (caller()['Role'] !== 'admin') {
            refuse(403, 'this needs the role admin');
        }
        echo "a report for {$caller['Subject']}\n";
        break;
    case 'POST /notes':
        echo caller()['Subject'], ' wrote: ', file_get_contents('php://input'), "\n";
        break;
    default:
        refuse(404, 'there is nothing');
}
