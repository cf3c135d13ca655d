//! Faults of the file, with their lines.

use super::*;

const HOOK_FAULTS: &[(&str, usize, &str)] = &[
    ("[hooks]\ntell = \"a\"\n", 1, "write `[[hooks]]`"),
    (
        "[[hooks]]\ntell = \"http://example.com/\"\nevents = [\"user.left\"]\nkeys = [\"env:K\"]\n",
        2,
        "`tell`: the URL begins with `https://`",
    ),
    (
        "[[hooks]]\ntell = \"https://a.b\"\nevents = [\"user.gone\"]\nkeys = [\"env:K\"]\n",
        3,
        "unknown variant `user.gone`, expected one of `room.occupied`",
    ),
    (
        "[[hooks]]\ntell = \"https://a.b\"\nevents = []\nkeys = [\"env:K\"]\n",
        1,
        "`events` names one event at least",
    ),
    (
        "[[hooks]]\ntell = \"https://a.b\"\nevents = [\"user.left\"]\nkeys = [\"hush\"]\n",
        4,
        "`keys`: a key is `whsec_`",
    ),
    (
        "[[hooks]]\ntell = \"https://a.b\"\nevents = [\"user.left\"]\nkeys = []\n",
        1,
        "`keys` has 1 to 8 keys",
    ),
    (
        "[[hooks]]\ntell = \"https://a.b\"\nevent = []\n",
        3,
        "unknown field `event`",
    ),
    (
        "[[hooks]]\ntell = \"https://a.b\"\nevents = [\"user.left\"]\nkeys = \"hush\"\n",
        4,
        "`keys`: it must be a list",
    ),
];

const ASK_FAULTS: &[(&str, usize, &str)] = &[
    ("[[ask]]\nurl = \"a\"\n", 1, "`ask` to be keys and values"),
    (
        "[ask]\nurl = \"http://example.com/\"\non = [\"join\"]\nkeys = [\"env:K\"]\n",
        2,
        "`url`: the URL begins with `https://`",
    ),
    (
        "[ask]\nurl = \"https://a.b\"\non = [\"publish\"]\nkeys = [\"env:K\"]\n",
        3,
        "unknown variant `publish`, expected `connect` or `join`",
    ),
    (
        "[ask]\nurl = \"https://a.b\"\non = []\nkeys = [\"env:K\"]\n",
        1,
        "`on` names \"connect\", \"join\" or both",
    ),
    (
        "[ask]\nurl = \"https://a.b\"\non = [\"join\"]\nkeys = [\"hush\"]\n",
        4,
        "`keys`: a key is `whsec_`",
    ),
    (
        "[ask]\nurl = \"https://a.b\"\non = [\"join\"]\nkeys = [\"env:K\"]\nheaders = [\"a b\"]\n",
        5,
        "`headers`: a header field has a name",
    ),
    (
        "[ask]\nurl = \"https://a.b\"\non = [\"join\"]\nkeys = [\"env:K\"]\ntimeout_ms = 0\n",
        5,
        "`timeout_ms` must be 10 to 10000",
    ),
    (
        "[ask]\nurl = \"https://a.b\"\ntimeout = 5\n",
        3,
        "unknown field `timeout`, expected one of `url`, `on`, `timeout_ms`",
    ),
];

#[test]
fn a_backend_that_is_asked_is_read() {
    let file = ConfigFile::from_toml(
        "[ask]\nurl = \"https://a.b/ask\"\non = [\"connect\", \"join\"]\ntimeout_ms = 500\n\
         headers = [\"Cookie\"]\nkeys = [\"env:K\"]\nwith_token = true\n",
    );
    let ask = file.expect("good").ask.expect("a backend");
    assert_eq!(ask.url.as_str(), "https://a.b/ask");
    assert!(ask.on.connect && ask.on.join && ask.with_token);
    assert_eq!(ask.timeout.as_millis(), 500);
    assert_eq!(ask.headers[0].as_str(), "cookie");
}

const FAULTS: &[(&str, usize, &str)] = &[
    ("[[rooms]]\nmatch = \"a\"\nmtach = 1\n", 3, "`mtach`"),
    ("[[room]]\nmatch = \"a\"\n", 1, "unknown field `room`"),
    (
        "[[grants]]\nfor = \"users\"\nrooms = \"a\"\ncan = [\"read\"]\n",
        4,
        "unknown variant `read`",
    ),
    (
        "[[grants]]\nfor = \"all\"\nrooms = \"a\"\ncan = []\n",
        2,
        "unknown variant `all`",
    ),
    (
        "\n[[grants]]\nfor = \"users\"\nroom = \"a\"\ncan = []\n",
        4,
        "unknown field `room`",
    ),
    ("[grants]\nfor = \"users\"\n", 1, "write `[[grants]]`"),
    (
        "[[rooms]]\nhistory.messages = 1\n",
        1,
        "missing field `match`",
    ),
    ("\n[[rooms]]\nmatch = \"\"\n", 3, "1 to 256 bytes"),
    (
        "[[rooms]]\nmatch = \"a\"\n\nhistory.messages = 0\n",
        4,
        "`history.messages` must be 1 to 100000",
    ),
    (
        "[[rooms]]\nmatch = \"a\"\nhistory.age = 5\n",
        3,
        "unknown field `history.age`, expected one of `history.messages`, `history.bytes`, \
         `history.age_s`",
    ),
    (
        "[[rooms]]\nmatch = \"a\"\nhistory.Messages = 5\n",
        3,
        "unknown field `history.Messages`, expected one of `history.messages`",
    ),
    (
        "rooms = [{ match = \"a\", history = { a = 1 } }]\n",
        1,
        "unknown field `history.a`",
    ),
    (
        "[[rooms]]\nmatch = \"a\"\nhistory = 1979-05-27\n",
        3,
        "invalid type: date or time, expected `history` to be keys of it",
    ),
    (
        "rooms = [{ match = \"a\", history = 07:32:00 }]\n",
        1,
        "invalid type: date or time, expected `history` to be keys of it",
    ),
    (
        "[[rooms]]\nmatch = \"a\"\npresence = 1979-05-27\n",
        3,
        "invalid type: date or time, expected `presence` to be \"off\"",
    ),
    (
        "[[rooms]]\nmatch = 1979-05-27T07:32:00Z\n",
        2,
        "invalid type: date or time, expected `match` to be a text",
    ),
    (
        "[[rooms]]\nmatch = \"a\"\nmembers = {}\n",
        3,
        "invalid type: table, expected `members` to be a whole number",
    ),
    (
        "rooms = 1979-05-27\n",
        1,
        "`rooms`: invalid type: date or time, expected a sequence",
    ),
    (
        "rooms = [1979-05-27]\n",
        1,
        "invalid type: date or time, expected each of `rooms` to be keys and values",
    ),
    (
        "[[rooms]]\nmatch = \"a\"\npresence = members\n",
        3,
        "`presence`: a text stands in quotes",
    ),
    (
        "[[rooms]]\nmatch = \"a\"\nhistory.messages =\n",
        3,
        "`history.messages`: a text stands in quotes, a number",
    ),
    (
        "[[rooms]]\nmatch = \"a\"\nhistory = { messages = 1, messages = 2 }\n",
        3,
        "`messages` is there twice",
    ),
    (
        "rooms = [{ match = \"a\", match = \"b\" }]\n",
        1,
        "`match` is there twice",
    ),
    (
        "[[rooms]]\nmatch = \"a\"\n[rooms.history]\nmessages = 1\nmessages = 2\n",
        5,
        "`messages` is there twice",
    ),
    (
        "[[rooms]]\nmatch = \"a\"\nhistory.messages = 1\n[rooms.history]\nbytes = 1\n",
        4,
        "is there twice",
    ),
    (
        "rooms = 1\n[[rooms]]\nmatch = \"a\"\n",
        2,
        "`rooms` is there twice",
    ),
    (
        "[[rooms]]\nmatch = \"a\"\nhistory = 1\nhistory.messages = 2\n",
        4,
        "`history.messages`: cannot extend",
    ),
    (
        "[[rooms]]\nmatch = \"a\"\npresence = \"all\"\n",
        3,
        "`presence` must be \"off\", \"counts\" or \"members\"",
    ),
    (
        "rooms = [{ match = \"a\", overflow = \"drop\" }]\n",
        1,
        "`overflow` must be \"close\", \"drop-oldest\" or \"latest\"",
    ),
    (
        "[[rooms]]\nmatch = \"a\"\npresence = [\"members\"]\n",
        3,
        "invalid type: sequence, expected `presence` to be \"off\"",
    ),
    (
        "[[rooms]]\nmatch = \"a\"\nhistory = []\n",
        3,
        "invalid type: sequence, expected `history` to be keys of it",
    ),
    (
        "[[rooms]]\nmatch = \"a\"\nhistory = [5, 1000, 60, 1]\n",
        3,
        "invalid type: sequence, expected `history` to be keys of it",
    ),
    (
        "[[rooms]]\nmatch = \"a\"\nhistory = {}\n",
        3,
        "`history` is empty: give it `history.messages`",
    ),
    (
        "[[rooms]]\nmatch = \"a\"\n[rooms.history]\n",
        3,
        "`history` is empty: give it `history.messages`",
    ),
    (
        "[[rooms]]\nmatch = \"a\"\n\n[rooms.history]\n# messages = 9\n",
        4,
        "`history` is empty: give it `history.messages`",
    ),
    (
        "rooms = [{ match = \"a\", history = {} }]\n",
        1,
        "`history` is empty: give it `history.messages`",
    ),
    (
        "rooms = [[\"a*\"]]\n",
        1,
        "expected each of `rooms` to be keys and values, such as `match = \"chat:*\"`",
    ),
    ("rooms = 5\n", 1, "`rooms`: invalid type: integer `5`"),
    (
        "[[rooms]]\nmatch = [\"a\"]\n",
        2,
        "invalid type: sequence, expected `match` to be a text",
    ),
    (
        "[[rooms]]\nmatch = \"a\"\npublish = \"yes\"\n",
        3,
        "invalid type: string \"yes\", expected `publish` to be true or false, without quotes",
    ),
    (
        "[[rooms]]\nmatch = \"*\"\n[[rooms]]\nmatch = \"a\"\n",
        3,
        "never reached",
    ),
    ("[[rooms]]\nmatch = \"a\n", 2, ""),
    ("\n[rooms]\nmatch = \"a\"\n", 2, "write `[[rooms]]`"),
    (
        "[[rooms]]\nmatch = \"a\"\nhistory = true\n",
        3,
        "invalid type: boolean `true`, expected `history` to be keys of it",
    ),
    (
        "[[rooms]]\nmatch = \"a\"\nhistory.messages = 300.0\n",
        3,
        "invalid type: floating point `300.0`, expected `history.messages` to be a whole \
         number from 1 to 100000",
    ),
    (
        "[[rooms]]\nmatch = \"a\"\nmembers = 1\nmembers = 2\n",
        4,
        "`members` is there twice",
    ),
];

#[test]
fn a_fault_is_told_with_its_line_and_its_fix() {
    let faults = FAULTS
        .iter()
        .map(|fault| (fault, policies_from_toml(fault.0).map(|_| ())));
    let hooks = HOOK_FAULTS
        .iter()
        .chain(ASK_FAULTS)
        .map(|fault| (fault, ConfigFile::from_toml(fault.0).map(|_| ())));
    for (&(text, line, fault), read) in faults.chain(hooks) {
        let said = read.expect_err(text);
        assert_eq!(said.line(), Some(line), "{text}: {said}");
        assert!(said.fault().contains(fault), "{text}: {said}");
    }
}

#[test]
fn an_empty_file_has_no_policies() {
    assert_eq!(policies_from_toml("# none\n"), Ok(Policies::default()));
}

#[test]
fn an_empty_file_changes_nothing() {
    assert_eq!(ConfigFile::from_toml(""), Ok(ConfigFile::default()));
}

#[test]
fn a_fault_has_its_line_and_no_secret() {
    const NO_LIST: &str = "`api_keys`: it must be a list";
    const NO_KEY: &str = "`api_keys`: an API key has";
    const NO_ORIGIN: &str = "`allow_origins`: an origin is a scheme";
    for (text, line, says) in [
        ("api_keys = \"s3cret\"\n", 1, NO_LIST),
        ("\napi_keys = [\n\"good\",\n\"s3cret key\"]\n", 4, NO_KEY),
        ("api_keys = [\"good\",\n\"s3cret,s3cret2\"]\n", 2, NO_KEY),
        ("api_keys = [\"good\", 1234567]\n", 1, NO_LIST),
        ("api_keys = [\n\"good\",\n1234567]\n", 3, NO_LIST),
        ("api_keys = [\n\"good\",\n[\"s3cret\"]]\n", 3, NO_LIST),
        ("api_keys = [\n{ s3cret = \"s3cret\" }]\n", 2, NO_LIST),
        ("api_keys = [\n1979-05-27]\n", 2, NO_LIST),
        ("api_keys = 1234567\n", 1, NO_LIST),
        ("api_keys = { s3cret = 1 }\n", 1, NO_LIST),
        ("[api_keys]\ns3cret = 1\n", 1, NO_LIST),
        ("[[api_keys]]\ns3cret = 1\n", 1, NO_LIST),
        ("api_keys.s3cret = 1\n", 1, NO_LIST),
        (
            "allow_origins = \"s3cret\"\n",
            1,
            "`allow_origins`: it must be",
        ),
        ("api_keys = [\"s3cret\n", 1, ""),
        (
            "api_keys = s3cret\n",
            1,
            "`api_keys`: a text stands in quotes",
        ),
        ("api_keys = [\n\"good\",\ns3cret==\n]\n", 3, ""),
        (
            "api_keys = { s3cret = 1, s3cret = 2 }\n",
            1,
            "is there twice",
        ),
        ("api_keys = 1979-05-27\n", 1, NO_LIST),
        ("allow_origins = [\"example.com\"]\n", 1, NO_ORIGIN),
        ("api_key = [\"s3cret\"]\n", 1, "unknown field `api_key`"),
        (
            "api_keys = [\"s3cret\"]\n[[rooms]]\nmatch = \"\"\n",
            3,
            "1 to 256 bytes",
        ),
        (
            "api_keys = [\"s3cret\"]\napi_keys = []\n",
            2,
            "`api_keys` is there twice",
        ),
    ] {
        let fault = ConfigFile::from_toml(text).expect_err(text);
        assert_eq!(fault.line(), Some(line), "{text}: {fault}");
        let told = fault.to_string();
        assert!(told.contains(says), "{text}: {told}");
        assert!(
            !told.contains("s3cret") && !told.contains("1234567"),
            "{told}"
        );
    }
}
