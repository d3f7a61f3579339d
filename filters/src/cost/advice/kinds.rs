//! The kinds of advice: each looks through the same books for one pattern.

mod cheaper_model;
mod costly_retries;
mod oversized_max_tokens;
mod repeated_prompts;
mod uncached_prefix;

use super::Seeing;
use super::books::merged;
use super::finding::Finding;

/// All findings that are worth a change, the largest saving first.
pub fn all(seeing: &Seeing<'_>) -> Vec<Finding> {
    let pairs = merged(seeing.books.iter().map(|half| &half.pairs));
    let mut found = repeated_prompts::find(seeing);
    found.extend(uncached_prefix::find(seeing));
    found.extend(pairs.values().filter_map(|pair| cheaper_model::find(seeing, pair)));
    found.extend(costly_retries::find(seeing));
    found.retain(|finding| finding.saving >= seeing.config.min_saving && finding.saving.nanos() > 0);
    // What holds money back saves none, and is told all the same.
    found.extend(pairs.values().filter_map(|pair| oversized_max_tokens::find(seeing, pair)));
    found.sort_by(|left, right| {
        let name = |finding: &Finding| (finding.kind, finding.model.clone(), finding.tenant.map(|it| *it.digest()));
        right.saving.cmp(&left.saving).then_with(|| name(left).cmp(&name(right)))
    });
    found
}
