use proptest::prelude::*;

use super::*;

const SECRET: &str = "It's a secret to everybody";
const NOW: u64 = 1_300_000_000;
const SIGNED: &str =
    "2|1:0|10:1300000000|3:key|8:dmFsdWU=|3d4e60b996ff9c5d5788e333a0cba6f238a22c6c0f94788870e1a9ecd482e152";

fn secret() -> CookieSecret {
    CookieSecret::new(SECRET).unwrap()
}

#[test]
fn signs_what_tornado_signs() {
    assert_eq!(create_signed_value(&secret(), "key", b"value", NOW), SIGNED);
}

#[test]
fn decoding_as_a_table() {
    let day = 86_400;
    let table = [
        ("as signed", "key", SIGNED.to_owned(), NOW, true),
        ("at exactly 31 days", "key", SIGNED.to_owned(), NOW + 31 * day, true),
        ("a second later", "key", SIGNED.to_owned(), NOW + 31 * day + 1, false),
        ("31 days ahead", "key", SIGNED.to_owned(), NOW - 31 * day, true),
        ("a second further ahead", "key", SIGNED.to_owned(), NOW - 31 * day - 1, false),
        ("another name", "yek", SIGNED.to_owned(), NOW, false),
        ("last digit changed", "key", SIGNED.replace("e152", "e153"), NOW, false),
        ("signature cut", "key", SIGNED[..SIGNED.len() - 2].to_owned(), NOW, false),
        ("upper-case signature", "key", SIGNED.replace("3d4e", "3D4E"), NOW, false),
        ("value changed", "key", SIGNED.replace("dmFs", "dmFt"), NOW, false),
        ("version 1", "key", SIGNED.replace("2|1:0", "1|1:0"), NOW, false),
        ("a length past the end", "key", "2|99:0|".to_owned(), NOW, false),
        ("a length past usize", "key", "2|18446744073709551615:0|".to_owned(), NOW, false),
        ("a length inside a character", "key", "2|1:é|".to_owned(), NOW, false),
        ("empty", "key", String::new(), NOW, false),
    ];
    for (case, name, signed, now, valid) in table {
        let value = decode_signed_value(&secret(), name, &signed, MAX_AGE_DAYS, now);
        assert_eq!(value, valid.then(|| b"value".to_vec()), "{case}");
    }
    let other = CookieSecret::new("another").unwrap();
    assert_eq!(decode_signed_value(&other, "key", SIGNED, MAX_AGE_DAYS, NOW), None);
}

#[test]
fn keys_rotate() {
    let old = CookieSecret::rotating([(1, "one")], 1).unwrap();
    let both = CookieSecret::rotating([(1, "one"), (2, "two")], 2).unwrap();
    let new = CookieSecret::rotating([(2, "two")], 2).unwrap();
    let (by_old, by_both) =
        (create_signed_value(&old, "k", b"v", NOW), create_signed_value(&both, "k", b"v", NOW));
    let decode = |secret, signed| decode_signed_value(secret, "k", signed, MAX_AGE_DAYS, NOW);
    assert_eq!(decode(&both, &by_old), Some(b"v".to_vec()));
    assert_eq!(decode(&new, &by_both), Some(b"v".to_vec()));
    assert_eq!(decode(&new, &by_old), None);
    assert_eq!(decode(&old, &by_both), None);
}

#[test]
fn bad_secrets_are_errors_with_a_sentence() {
    assert!(CookieSecret::new("").unwrap_err().to_string().contains("empty"));
    assert!(CookieSecret::rotating([(1, "a")], 2).unwrap_err().to_string().contains("key version 2"));
}

#[test]
fn reading_cookies_as_a_table() {
    let table = [
        ("a=1; b=2", "b", Some("2")),
        ("a=1; a=2", "a", Some("2")),
        ("a = 1 ;b=2", "a", Some("1")),
        (r#"a="x\054y\"z""#, "a", Some("x,y\"z")),
        (r#"a="é\q""#, "a", Some("éq")),
        (r#"a="b\""#, "a", Some("b\\")),
        ("a=1", "A", None),
        ("a=b=c", "a", Some("b=c")),
        ("a=", "a", Some("")),
        (";;", "a", None),
    ];
    for (header, name, value) in table {
        assert_eq!(find(header, name).as_deref(), value, "{header}");
    }
}

proptest! {
    #[test]
    fn any_value_comes_back_and_any_change_is_noticed(
        name in "[a-z]{1,9}",
        value in prop::collection::vec(any::<u8>(), 0..60),
        at in any::<prop::sample::Index>(),
        byte in b' '..=b'~',
    ) {
        let signed = create_signed_value(&secret(), &name, &value, NOW);
        let decode = |text: &str| decode_signed_value(&secret(), &name, text, MAX_AGE_DAYS, NOW);
        prop_assert_eq!(decode(&signed), Some(value));
        let mut changed = signed.clone().into_bytes();
        let at = at.index(changed.len());
        if changed[at] != byte {
            changed[at] = byte;
            prop_assert_eq!(decode(std::str::from_utf8(&changed).unwrap()), None);
        }
    }

    #[test]
    fn any_text_is_a_signed_value_or_none(text in "2\\|\\PC{0,60}") {
        prop_assert_eq!(decode_signed_value(&secret(), "key", &text, MAX_AGE_DAYS, NOW), None);
    }

    #[test]
    fn any_cookie_header_can_be_read(header in "\\PC{0,80}", value in "[!#-+\\--:<-\\[\\]-~]{0,20}") {
        let _ = find(&header, "key");
        prop_assert_eq!(find(&format!("{header}; key={value}"), "key"), Some(value));
    }
}
