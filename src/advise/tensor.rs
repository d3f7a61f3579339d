//! The tensors of a model, as far as quantizing asks about them.

/// What a tensor is for: llama.cpp's mixes treat each kind in its own way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    TokenEmbedding,
    Output,
    Query,
    Key,
    /// Quantizing these harms most.
    Value,
    /// Queries, keys and values in one.
    Fused,
    AttentionOutput,
    Gate,
    Up,
    Down,
    /// Matrices of other kinds get what the mix is called after.
    Other,
    /// Norms, biases, routers, tables: llama.cpp leaves them alone. They are few, and 32 bits wide in practice.
    Kept,
}

/// So many rows of so many weights. A mixture's experts lie in one tensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tensor {
    pub role: Role,
    pub layer: u64,
    pub row: u64,
    pub rows: u64,
    pub of_experts: bool,
}

impl Tensor {
    pub const fn new(role: Role, layer: u64, row: u64, rows: u64) -> Self {
        Tensor { role, layer, row, rows, of_experts: false }
    }

    pub const fn weights(&self) -> u64 {
        self.row.saturating_mul(self.rows)
    }

    /// A tensor of a GGUF file, by its name and its sizes, the row's first.
    pub fn named(name: &str, sizes: &[u64]) -> Self {
        let row = sizes.first().copied().unwrap_or(1);
        let rows = sizes.iter().skip(1).fold(1_u64, |rows, size| rows.saturating_mul(*size));
        let layer =
            name.strip_prefix("blk.").and_then(|rest| rest.split('.').next()).and_then(|text| text.parse().ok());
        let of_experts = sizes.get(2).is_some_and(|experts| *experts > 1);
        Tensor { role: role(name, sizes.len()), layer: layer.unwrap_or(0), row, rows, of_experts }
    }
}

/// Names whose matrices are never quantized, wherever they stand in a tensor's name.
const KEPT: [&str; 14] = [
    "_norm.weight",
    "ffn_gate_inp",
    "ffn_gate_tid2eid",
    "altup",
    "laurel",
    "per_layer_model_proj",
    "ssm_conv1d",
    "shortconv.conv",
    "time_mix_",
    "attn_rel_b",
    "position_embd",
    "token_types",
    "indexer.k_proj",
    "indexer.q_proj",
];

/// The kinds that have a rule of their own, by what stands in their names.
const ROLES: [(&str, Role); 9] = [
    ("attn_qkv.weight", Role::Fused),
    ("attn_kv_b.weight", Role::Value),
    ("attn_v.weight", Role::Value),
    ("attn_k.weight", Role::Key),
    ("attn_q.weight", Role::Query),
    ("attn_output.weight", Role::AttentionOutput),
    ("ffn_up", Role::Up),
    ("ffn_gate", Role::Gate),
    ("ffn_down", Role::Down),
];

fn role(name: &str, dimensions: usize) -> Role {
    if dimensions < 2 || !name.ends_with("weight") || KEPT.iter().any(|kept| name.contains(kept)) {
        return Role::Kept;
    }
    match name {
        "output.weight" => Role::Output,
        "token_embd.weight" | "per_layer_token_embd.weight" => Role::TokenEmbedding,
        _ => ROLES.into_iter().find(|(part, _)| name.contains(part)).map_or(Role::Other, |(_, role)| role),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tensor_is_known_by_its_name() {
        let of = |name, sizes: &[u64]| Tensor::named(name, sizes);
        assert_eq!(of("blk.7.ffn_down.weight", &[1536, 576]), Tensor::new(Role::Down, 7, 1536, 576));
        assert_eq!(of("token_embd.weight", &[576, 49152]).role, Role::TokenEmbedding);
        assert_eq!(of("output.weight", &[576, 49152]).role, Role::Output);
        assert_eq!(of("blk.0.attn_norm.weight", &[576]).role, Role::Kept);
        assert_eq!(of("blk.0.attn_q.bias", &[576]).role, Role::Kept, "a bias is no matrix");
        assert_eq!(of("blk.0.ffn_gate_inp.weight", &[4096, 8]).role, Role::Kept, "the router is left alone");
        assert_eq!(of("blk.0.ssm_in.weight", &[4096, 8]).role, Role::Other);
        let experts = of("blk.3.ffn_gate_exps.weight", &[4096, 14336, 8]);
        assert_eq!((experts.role, experts.rows, experts.of_experts), (Role::Gate, 14336 * 8, true));
    }
}
