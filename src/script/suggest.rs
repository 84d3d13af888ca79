//! "Did you mean": the known name nearest to a mistyped one.

/// Returns the candidate that is close enough to `word` to be what was meant.
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let word_low = word.to_lowercase();
    candidates
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(&word_low, &candidate.to_lowercase()), candidate))
        .filter(|(distance, candidate)| *distance <= 1.max(word.len().max(candidate.len()) / 3))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// Returns a hint for a mistyped name: the nearest known one or, where there is none, all of a short list.
pub fn did_you_mean<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<String> {
    const LISTED: usize = 16;
    let mut known: Vec<&str> = candidates.into_iter().collect();
    if let Some(near) = nearest(word, known.iter().copied()) {
        return Some(format!("did you mean `{near}`?"));
    }
    known.sort_unstable();
    known.dedup();
    (!known.is_empty() && known.len() <= LISTED).then(|| format!("known are {}", known.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_typo_finds_its_word_and_nonsense_finds_none() {
        assert_eq!(nearest("databse", ["database", "image", "keep"]), Some("database"));
        assert_eq!(nearest("fingreprint", ["fingerprint", "print"]), Some("fingerprint"));
        assert_eq!(nearest("zzzz", ["database", "image"]), None);
        assert_eq!(did_you_mean("zzzz", ["keep", "image"]).unwrap(), "known are image, keep");
    }
}
