//! What is done to a text, a character at a time. Bytes that are no UTF-8 are kept as they are.

/// Appends `text` backwards, character by character (Unicode scalar values, as a Python string has them).
pub fn reverse(text: &[u8], reply: &mut Vec<u8>) {
    let start = reply.len();
    for chunk in text.utf8_chunks() {
        // The bytes of each character backwards now, so that they stand right when all of the reply is turned round.
        for character in chunk.valid().chars() {
            reply.extend(character.encode_utf8(&mut [0; 4]).bytes().rev());
        }
        reply.extend(chunk.invalid().iter().rev());
    }
    reply[start..].reverse();
}

/// Appends `text` in upper case. Some characters become longer: `ß` is `SS` then.
pub fn upper(text: &[u8], reply: &mut Vec<u8>) {
    for chunk in text.utf8_chunks() {
        let characters = chunk.valid().chars().flat_map(char::to_uppercase);
        characters.for_each(|character| reply.extend(character.encode_utf8(&mut [0; 4]).bytes()));
        reply.extend(chunk.invalid());
    }
}

/// How many bytes at the end of `text` begin a character that is not whole yet.
pub(super) fn begun_character(text: &[u8]) -> usize {
    let tail = &text[text.len().saturating_sub(3)..];
    let from_lead = tail.iter().rev().position(|byte| byte & 0b1100_0000 != 0b1000_0000);
    let Some(lead) = from_lead.map(|position| tail.len() - 1 - position) else { return 0 };
    let size = match tail[lead] {
        0xc2..=0xdf => 2,
        0xe0..=0xef => 3,
        0xf0..=0xf4 => 4,
        _ => 1,
    };
    let begun = tail.len() - lead;
    if begun < size { begun } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::{begun_character, reverse, upper};
    use proptest::prelude::*;

    fn of(change: fn(&[u8], &mut Vec<u8>), text: &[u8]) -> Vec<u8> {
        let mut reply = b">".to_vec();
        change(text, &mut reply);
        reply.split_off(1)
    }

    #[test]
    fn characters_stay_whole() {
        assert_eq!(of(reverse, "Grüße, 🐰!".as_bytes()), "!🐰 ,eßürG".as_bytes());
        assert_eq!(of(upper, "Grüße, 🐰!".as_bytes()), "GRÜSSE, 🐰!".as_bytes());
        assert_eq!(of(reverse, b"a\xff\xe2\x82b"), b"b\xe2\x82\xffa");
        assert_eq!(of(upper, b"a\xff\xe2\x82b"), b"A\xff\xe2\x82B");
    }

    proptest! {
        #[test]
        fn twice_backwards_is_forwards(text in any::<String>()) {
            let expected: String = text.chars().rev().collect();
            prop_assert_eq!(of(reverse, text.as_bytes()), expected.into_bytes());
            prop_assert_eq!(of(reverse, &of(reverse, text.as_bytes())), text.into_bytes());
        }

        #[test]
        fn a_begun_character_is_seen(text in any::<String>(), cut in any::<prop::sample::Index>()) {
            let bytes = &text.as_bytes()[..cut.index(text.len() + 1)];
            let whole = std::str::from_utf8(bytes).map_or_else(|error| error.valid_up_to(), str::len);
            prop_assert_eq!(begun_character(bytes), bytes.len() - whole);
        }

        #[test]
        fn bytes_of_any_kind_are_all_kept(bytes in any::<Vec<u8>>()) {
            prop_assert_eq!(of(reverse, &bytes).len(), bytes.len());
            prop_assert!(begun_character(&bytes) <= 3);
        }
    }
}
