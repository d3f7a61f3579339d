use proptest::prelude::*;

use super::*;

const VLLM: &str = r#"# HELP vllm:num_requests_running Number of requests in model execution batches.
# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{engine="0",model_name="meta-llama/Llama-3.1-8B-Instruct"} 7.0
# TYPE vllm:num_requests_waiting gauge
vllm:num_requests_waiting{engine="0",model_name="meta-llama/Llama-3.1-8B-Instruct"} 2.0
vllm:num_requests_waiting_by_reason{engine="0",model_name="meta-llama/Llama-3.1-8B-Instruct",reason="capacity"} 2.0
# TYPE vllm:kv_cache_usage_perc gauge
vllm:kv_cache_usage_perc{engine="0",model_name="meta-llama/Llama-3.1-8B-Instruct"} 0.3171428571428571
vllm:cache_config_info{block_size="16",cache_dtype="auto",enable_prefix_caching="True",engine="0",gpu_memory_utilization="0.9",num_cpu_blocks="None",num_gpu_blocks="27913"} 1.0
vllm:iteration_tokens_total_bucket{le="+Inf",model_name="meta-llama/Llama-3.1-8B-Instruct"} 3.0
vllm:prompt_tokens_created{model_name="meta-llama/Llama-3.1-8B-Instruct"} 1.7330e+09
"#;

const SGLANG: &str = r#"# HELP sglang:num_running_reqs The number of running requests.
# TYPE sglang:num_running_reqs gauge
sglang:num_running_reqs{engine_type="unified",model_name="qwen",moe_ep_rank="0",pp_rank="0",tp_rank="0"} 161.0
sglang:num_queue_reqs{engine_type="unified",model_name="qwen",moe_ep_rank="0",pp_rank="0",tp_rank="0"} 1826.0
sglang:token_usage{engine_type="unified",model_name="qwen",moe_ep_rank="0",pp_rank="0",tp_rank="0"} 0.28
sglang:max_total_num_tokens{engine_type="unified",model_name="qwen",moe_ep_rank="0",pp_rank="0",tp_rank="0"} 441792.0
sglang:num_running_reqs_offline_batch{model_name="qwen"} 5.0
"#;

const LLAMA: &str = "# HELP llamacpp:requests_processing Number of requests processing.
# TYPE llamacpp:requests_processing gauge
llamacpp:requests_processing 3
# HELP llamacpp:requests_deferred Number of requests deferred.
llamacpp:requests_deferred 1
llamacpp:predicted_tokens_seconds 42.5
";

fn engine(running: u64, waiting: u64, kv_usage: Option<f64>, kv_tokens: Option<u64>) -> Option<Engine> {
    Some(Engine { running, waiting, kv_usage, kv_tokens })
}

#[test]
fn each_engine_is_read_by_its_own_names() {
    assert_eq!(read(VLLM), engine(7, 2, Some(0.317_142_857_142_857_1), Some(27_913 * 16)));
    assert_eq!(read(SGLANG), engine(161, 1826, Some(0.28), Some(441_792)));
    assert_eq!(read(LLAMA), engine(3, 1, None, None));
    assert_eq!(read(&format!("{LLAMA}llamacpp:kv_cache_usage_ratio 0.63\n")), engine(3, 1, Some(0.63), None));
}

#[test]
fn older_and_renamed_names_are_read_too() {
    let old = VLLM.replace("kv_cache_usage_perc", "gpu_cache_usage_perc").replace("vllm:", "vllm_");
    assert_eq!(read(&old), read(VLLM));
    assert_eq!(read(&SGLANG.replace("sglang:", "sglang_")), read(SGLANG));
    assert_eq!(
        read(&LLAMA.replace('\n', " 1733000000000\r\n")),
        read(LLAMA),
        "times and carriage returns may stand there"
    );
}

#[test]
fn engines_are_summed_and_ranks_of_the_same_work_are_not() {
    let two = [VLLM, &VLLM.replace(r#"engine="0""#, r#"engine="1""#).replace("0.3171428571428571", "0.9")].concat();
    assert_eq!(read(&two), engine(14, 4, Some(0.9), Some(2 * 27_913 * 16)));
    let ranks = [SGLANG, &SGLANG.replace(r#"tp_rank="0""#, r#"tp_rank="1""#)].concat();
    assert_eq!(read(&ranks), read(SGLANG), "both ranks of a tensor parallel engine work on the same requests");
}

#[test]
fn the_memory_in_tokens_is_as_it_is_told_or_unknown() {
    let config = |labels: &str| read(&format!("vllm:num_requests_running 1\nvllm:cache_config_info{{{labels}}} 1.0\n"));
    let tokens = |labels: &str| config(labels).expect("an engine").kv_tokens;
    assert_eq!(tokens(r#"block_size="16",num_gpu_blocks="661",kv_cache_size_tokens="10000""#), Some(10_000));
    assert_eq!(tokens(r#"block_size="16",num_gpu_blocks="661",kv_cache_size_tokens="None""#), Some(10_576));
    assert_eq!(tokens(r#"block_size="16",num_gpu_blocks="None""#), None);
    assert_eq!(tokens(r#"note="a \"}\" and, b=\"c\"",block_size="2",num_gpu_blocks="3""#), Some(6));
    assert_eq!(tokens(r#"block_size="1e308",num_gpu_blocks="1e308""#), None);
    assert_eq!(tokens(""), None);
}

#[test]
fn what_is_no_engines_is_nothing() {
    assert_eq!(read(""), None);
    assert_eq!(read("<html>not found</html>"), None);
    assert_eq!(read("process_cpu_seconds_total 12.5\nvllm:prompt_tokens_total 5\n"), None);
    assert_eq!(
        read("vllm:num_requests_running\nvllm:num_requests_running{\nvllm:num_requests_waiting{a=\"} 1\n"),
        None
    );
    assert_eq!(read("vllm:num_requests_running NaN\n"), None);
    assert_eq!(
        read("vllm:num_requests_running -3\nvllm:num_requests_waiting 1e300\n"),
        engine(0, u64::MAX, None, None)
    );
}

#[test]
fn a_text_without_end_is_read_to_its_cap() {
    let long = format!("{LLAMA}{}llamacpp:kv_cache_usage_ratio 0.5\n", "# ö\n".repeat(1 << 20));
    assert_eq!(read(&long), read(LLAMA));
    let series: String = (0..20_000).map(|index| format!("vllm:num_requests_running{{a=\"{index}\"}} 1\n")).collect();
    assert_eq!(read(&series), engine(MOST_SERIES as u64, 0, None, None));
    assert_eq!(upto("one\ntwo\nthree", 9), "one\ntwo");
    assert_eq!(upto("öö", 3), "");
}

proptest! {
    #[test]
    fn any_text_can_be_read(lines in proptest::collection::vec(
        ("(vllm:num_requests_running|vllm:cache_config_info|sglang_token_usage|)", "[\\PC{}\"\\\\,= ]{0,40}"), 0..20,
    )) {
        let text: String = lines.into_iter().map(|(name, rest)| format!("{name}{rest}\n")).collect();
        read(&text);
    }
}
