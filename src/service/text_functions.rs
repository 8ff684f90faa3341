//! Functions on UTF-8 text: reversal and upper case. Invalid bytes are kept unchanged.

/// Appends the reversed `text`, character by character (Unicode scalar values, as in a Python string).
pub fn reverse(text: &[u8], reply: &mut Vec<u8>) {
    let start = reply.len();
    for chunk in text.utf8_chunks() {
        // Reverses the bytes of each character, because the reversal of the whole reply below restores them.
        for character in chunk.valid().chars() {
            reply.extend(character.encode_utf8(&mut [0; 4]).bytes().rev());
        }
        reply.extend(chunk.invalid().iter().rev());
    }
    reply[start..].reverse();
}

/// Appends `text` in upper case. Some characters become longer: `ß` becomes `SS`.
pub fn upper(text: &[u8], reply: &mut Vec<u8>) {
    for chunk in text.utf8_chunks() {
        let characters = chunk.valid().chars().flat_map(char::to_uppercase);
        characters.for_each(|character| reply.extend(character.encode_utf8(&mut [0; 4]).bytes()));
        reply.extend(chunk.invalid());
    }
}

/// Number of bytes of an incomplete character at the end of `text`.
pub(super) fn incomplete_character_bytes(text: &[u8]) -> usize {
    let tail = &text[text.len().saturating_sub(3)..];
    let from_lead = tail.iter().rev().position(|byte| byte & 0b1100_0000 != 0b1000_0000);
    let Some(lead) = from_lead.map(|position| tail.len() - 1 - position) else { return 0 };
    let size = match tail[lead] {
        0xc2..=0xdf => 2,
        0xe0..=0xef => 3,
        0xf0..=0xf4 => 4,
        _ => 1,
    };
    let available = tail.len() - lead;
    if available < size { available } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::{incomplete_character_bytes, reverse, upper};
    use proptest::prelude::*;

    fn apply(change: fn(&[u8], &mut Vec<u8>), text: &[u8]) -> Vec<u8> {
        let mut reply = b">".to_vec();
        change(text, &mut reply);
        reply.split_off(1)
    }

    #[test]
    fn characters_are_kept_intact() {
        assert_eq!(apply(reverse, "Grüße, 🐰!".as_bytes()), "!🐰 ,eßürG".as_bytes());
        assert_eq!(apply(upper, "Grüße, 🐰!".as_bytes()), "GRÜSSE, 🐰!".as_bytes());
        assert_eq!(apply(reverse, b"a\xff\xe2\x82b"), b"b\xe2\x82\xffa");
        assert_eq!(apply(upper, b"a\xff\xe2\x82b"), b"A\xff\xe2\x82B");
    }

    proptest! {
        #[test]
        fn reversing_twice_restores_the_text(text in any::<String>()) {
            let expected: String = text.chars().rev().collect();
            prop_assert_eq!(apply(reverse, text.as_bytes()), expected.into_bytes());
            prop_assert_eq!(apply(reverse, &apply(reverse, text.as_bytes())), text.into_bytes());
        }

        #[test]
        fn an_incomplete_character_is_detected(text in any::<String>(), cut in any::<prop::sample::Index>()) {
            let bytes = &text.as_bytes()[..cut.index(text.len() + 1)];
            let whole = std::str::from_utf8(bytes).map_or_else(|error| error.valid_up_to(), str::len);
            prop_assert_eq!(incomplete_character_bytes(bytes), bytes.len() - whole);
        }

        #[test]
        fn arbitrary_bytes_are_preserved(bytes in any::<Vec<u8>>()) {
            prop_assert_eq!(apply(reverse, &bytes).len(), bytes.len());
            prop_assert!(incomplete_character_bytes(&bytes) <= 3);
        }
    }
}
