//! All that the console says, in each of its languages: a line a word. What misses a language does not compile.

macro_rules! words {
    ($(@$part:ident;)* $($name:ident: $english:literal, $chinese:literal;)+) => {
        /// What is said in one language. `{0}`, `{1}` are places for what a page puts there.
        #[derive(Debug)]
        pub struct Words { $(pub $part: &'static $part::Words,)* $(pub $name: &'static str,)+ }

        /// English.
        pub const ENGLISH: Words = Words { $($part: &$part::ENGLISH,)* $($name: $english,)+ };
        /// 简体中文.
        pub const CHINESE: Words = Words { $($part: &$part::CHINESE,)* $($name: $chinese,)+ };

        /// Their names, for tests.
        #[cfg(test)]
        pub(super) const ALL: &[(&str, &str, &str)] = &[$((stringify!($name), $english, $chinese),)+];
    };
}

mod endpoint;
mod problem;

words! {
    @endpoint;
    @problem;
    // Places, and getting about.
    overview: "Overview", "总览";
    messages: "Messages", "消息";
    transactions: "Transactions", "事务";
    dead: "Dead letters", "死信";
    consumers: "Consumers", "消费者";
    plugins: "Plugins", "插件";
    instances: "Instances", "实例";
    holds: "Holds", "暂停与停靠";
    audit: "Audit", "审计";
    pages: "Pages", "页面";
    skip: "Skip to content", "跳到正文";
    api: "API", "API";
    keys: "Keyboard", "键盘";
    key_search: "search", "搜索";
    key_rows: "next and previous row", "下一行、上一行";
    key_open: "open the row", "打开该行";
    key_keys: "show these keys", "显示这些按键";
    close: "Close", "关闭";
    log_in: "Log in", "登录";
    log_out: "Log out", "退出";
    log_in_oidc: "Log in with OpenID Connect", "使用 OpenID Connect 登录";
    log_in_hint: "An administrator makes tokens with {0}.", "令牌由管理员用 {0} 生成。";
    token_refused: "This token is not valid: it is mistyped, expired or revoked.", "令牌无效：可能输错、已过期或已吊销。";
    role_view: "view", "只读";
    role_operate: "operate", "操作";
    role_admin: "admin", "管理";
    token: "Token", "令牌";
    back: "Back", "返回";
    look: "Look", "查看";
    decide: "Decide", "去裁决";
    older: "Older", "更早";
    go_on: "Go on", "继续";
    look_on: "Go on looking", "继续查找";
    all_of_them: "All of them", "全部";
    search: "Search", "搜索";
    clear: "Clear", "清空";
    any: "any", "任意";
    // Columns and facts.
    about: "About", "说明";
    action: "Action", "操作";
    age: "Age", "时长";
    answers: "answers", "应答中";
    attempts: "Attempts", "尝试次数";
    attempt: "Attempt", "第几次尝试";
    behind: "Behind", "位于其后";
    begun: "Begun", "开始于";
    before_that: "From", "原状态";
    changed: "Changed", "变更于";
    checker: "Checker", "回查插件";
    checks: "Checks", "回查次数";
    consumer: "Consumer", "消费者";
    current: "current", "当前";
    decided: "Decided", "裁决于";
    decided_by: "Decided by", "裁决者";
    dedup_key: "Dedup key", "去重键";
    delayed: "Delayed", "延时";
    deployed: "Deployed", "部署于";
    detail: "Detail", "详情";
    done_by: "by", "操作人";
    example: "Example", "示例";
    examples: "Some of them", "其中一部分";
    facts: "Facts", "概况";
    failure: "Failure", "失败原因";
    fault: "fault", "故障";
    file: "File (.wasm)", "文件（.wasm）";
    flow: "The way of messages, from the row to the receipt", "消息从写入到回执的流程";
    generation: "Generation", "代次";
    grants: "Grants", "授权";
    grants_hint: "one a line: sql:NAME, http:NAME, nats:NAME", "每行一个：sql:名称、http:名称、nats:名称";
    headers: "Headers", "消息头";
    held: "Held", "被挂起";
    inserted: "Inserted", "写入";
    key: "Key", "键";
    kind: "Kind", "类别";
    lease: "Lease", "租约";
    lease_ended: "lease ended", "租约已到期";
    level: "Level", "级别";
    line: "Line", "内容";
    log: "Log", "日志";
    losses: "Losses of brokers", "消息服务器的丢失";
    message: "Message", "消息";
    message_id: "Message id", "消息 ID";
    name: "Name", "名称";
    never_sent: "never sent", "从未发出";
    next_check: "Next check", "下次回查";
    no_reason: "no reason given", "未说明原因";
    nobody: "nobody", "无";
    nobody_answers: "nobody answers", "无人应答";
    not_before: "Not before", "不早于";
    not_required: "not required", "非必需";
    nothing_granted: "nothing", "无";
    oldest: "oldest", "最久";
    paused: "paused", "已暂停";
    parked_behind: "behind {0}", "停靠于 {0} 之后";
    payload: "Payload", "负载";
    plugin: "Plugin", "插件";
    plugin_version: "Digest", "摘要";
    reason: "Reason", "原因";
    receipt: "Receipt", "回执";
    receipt_ack: "by acknowledgement", "由确认（ack）";
    receipt_inbox: "by the inbox", "由收件箱";
    receipts: "Receipts", "回执";
    record: "record", "记录";
    records: "Records of what is not finished", "未完成工作的记录";
    reference: "Reference", "业务引用";
    released: "Released", "放行于";
    released_by: "Released by", "放行条件";
    remedy: "What to do", "处理办法";
    removed: "removed", "已移除";
    required: "required", "必需";
    sent_again: "Sent again", "重发";
    sent_again_times: "sent again {0} times", "已重发 {0} 次";
    sent_before: "Sent before at", "上次发出于";
    sent_last: "Sent", "发出于";
    sequence: "Sequence", "序号";
    settings: "Settings", "设置";
    settings_hint: "one a line: KEY=VALUE", "每行一个：键=值";
    shard: "Shard", "分片";
    shards: "Shards", "分片";
    shards_left: "Shards left", "剩余分片";
    since: "Since", "起始";
    size: "Size", "大小";
    state: "State", "状态";
    stream: "Stream", "流";
    subject: "Subject", "对象";
    timeline: "What happened", "经过";
    topic: "Topic", "主题";
    topics: "Topics", "主题";
    total: "Total", "总数";
    trace: "Trace id", "追踪 ID";
    transaction: "Transaction", "事务";
    tries: "Tries", "重试次数";
    trouble: "Trouble", "故障";
    unfinished: "Unfinished", "未完成";
    unknowns: "Unknown answers", "未知答复";
    until: "Until", "截止";
    until_when: "Until", "直到";
    verdict: "Verdict", "裁决";
    version: "Version", "版本";
    versions: "Versions", "版本";
    waiting_for_receipts: "Waiting for receipts", "等待回执";
    waits: "waits", "等待";
    waits_for: "waits for", "等待";
    warning: "warning", "警告";
    when: "When", "时间";
    who: "Who", "操作人";
    why: "Why", "理由";
    why_optional: "(for the audit)", "（写入审计）";
    why_required: "(required, for the audit)", "（必填，写入审计）";
    at_most_so_many: "at most {0}", "最多 {0} 次";
    some_of_them: "{0} of {1}; the others were not found near the transaction's time, or are retired.", "显示 {1} 条中的 {0} 条；其余不在事务时间附近，或已清理。";
    // Units.
    unit_d: "d", "天";
    unit_h: "h", "小时";
    unit_min: "min", "分";
    unit_s: "s", "秒";
    per_s: "/s", "/秒";
    ago: "{0} ago", "{0}前";
    in_time: "in {0}", "{0}后";
    at_most: "at most", "最高";
    // States.
    state_prepared: "prepared", "待定";
    state_ready: "ready", "就绪";
    state_pending: "to be sent again", "待重发";
    state_sent: "sent", "已发出";
    state_running: "running", "进行中";
    state_waiting: "waiting", "等待重试";
    state_consumed: "consumed", "已消费";
    state_done: "done", "已完成";
    state_committed: "committed", "已提交";
    state_rolled_back: "rolled back", "已回滚";
    state_cancelled: "cancelled", "已取消";
    state_discarded: "discarded", "已丢弃";
    state_dead: "dead", "死亡";
    state_rejected: "rejected", "被拒绝";
    state_parked: "parked", "已停靠";
    state_in_doubt: "in doubt", "存疑";
    ev_inserted: "inserted", "写入";
    ev_released: "released", "放行";
    ev_received: "received", "已收到回执";
    ev_missed: "missed", "未收到";
    ev_sent_again: "sent again", "重发";
    ev_resent: "resent", "人工重发";
    ev_asked: "checker asked", "询问回查插件";
    calls_a_day: "Calls, 24 h", "24 小时调用";
    plugin_errors: "Could not tell", "无法判断";
    plugin_faults: "Faults", "故障";
    plugin_took: "Took, mean / longest", "耗时（平均 / 最长）";
    ev_asked_before: "checker asked before", "此前询问回查插件";
    ev_attempt_failed: "attempt failed", "处理失败";
    ev_attempt_lost: "attempt ended without a word", "处理中断，无结果";
    ev_released_from: "not waited for any more", "不再等待";
    ev_ready: "ready again", "再次就绪";
    by_producer: "its producer", "生产者";
    by_checker: "its checker", "回查插件";
    by_operator: "a person", "人工";
    // The overview.
    live: "live", "实时";
    not_live: "not live: reload for newer figures", "非实时：刷新以更新";
    troubles: "Troubles", "故障";
    so_many_troubles: "Troubles: {0}", "故障：{0} 项";
    fine: "fine", "正常";
    no_trouble: "Nothing needs you.", "没有需要处理的事项。";
    over_time: "Over time", "趋势";
    window: "How far back", "时间范围";
    rates: "Rates", "速率";
    backlog: "Backlog", "积压";
    oldest_unsent: "Oldest unsent", "最久未发";
    no_samples: "No samples yet: a running instance takes one every ten seconds.", "暂无采样：运行中的实例每十秒采样一次。";
    no_instance: "No instance runs", "没有运行中的实例";
    no_instance_do: "Nothing is sent. Start one with {0}.", "消息不会发出。请用 {0} 启动实例。";
    trouble_shards: "{0} of {1} shards have no owner: their messages wait.", "{1} 个分片中有 {0} 个无主：其消息在等待。";
    trouble_loss: "Stream {0} has lost messages ({1}). {2} are sent again; {3} shards are not done.", "流 {0} 丢失了消息（{1}）。已重发 {2} 条；还有 {3} 个分片未完成。";
    past_loss: "Stream {0} had lost messages ({1}). {2} were sent again.", "流 {0} 曾丢失消息（{1}）。已重发 {2} 条。";
    trouble_oldest: "The oldest message that may be sent has waited for {0}.", "最久的就绪消息已等待 {0}。";
    trouble_in_doubt: "Transactions in doubt: {0}. Only a person can decide them.", "{0} 个事务存疑：只能由人裁决。";
    trouble_dead: "Dead messages: {0}.", "{0} 条消息已死亡。";
    trouble_parked: "{0} is parked behind a dead message", "{0} 停靠在一条死信之后";
    trouble_paused: "{0} is paused", "{0} 已暂停";
    more_holds: "{0} more are held.", "还有 {0} 项被挂起。";
    no_losses: "No broker has lost anything.", "没有消息服务器丢失过消息。";
    lately: "Lately", "最近";
    // Nothing to show, and what to do.
    none_found: "No message matches", "没有匹配的消息";
    none_found_do: "Loosen a field. A topic with everything below it is orders.>; a key must match as a whole.", "请放宽条件。orders.> 表示主题及其下级；键必须完整匹配。";
    nothing_here: "Nothing in the part that was looked at", "已查看的部分没有匹配";
    nothing_here_do: "One look goes through a bounded number of rows. Go on, or narrow the time.", "每次只查看有限的行数。请继续，或缩小时间范围。";
    no_messages: "There are no messages", "没有消息";
    no_messages_do: "A message comes into being with {0}.", "用 {0} 写入消息。";
    no_id: "This is no message id: it has 32 hexadecimal digits.", "这不是消息 ID：应为 32 位十六进制数。";
    no_time: "This is no time: write 2026-01-31 12:00 (UTC), or 2h for two hours ago.", "这不是时间：请写 2026-01-31 12:00（UTC），或用 2h 表示两小时前。";
    no_state: "There is no such state.", "没有这样的状态。";
    no_failure: "Only dead messages have a failure: leave the state out, or choose dead.", "只有死亡的消息才有失败原因：请不选状态，或选择死亡。";
    no_limit: "A page cannot have so many.", "一页不能有这么多。";
    no_cursor: "This place belongs to another search: search again.", "此位置属于另一次搜索：请重新搜索。";
    no_events: "Nothing is known.", "没有记录。";
    payload_hidden: "This payload is hidden from your role.", "此负载对您的角色隐藏。";
    header_hidden: "hidden from your role", "对您的角色隐藏";
    payload_gone: "The row is gone.", "该行已不存在。";
    payload_cut: "the first {0} are shown", "仅显示前 {0}";
    hex_cut: "The first {0} are shown.", "仅显示前 {0}。";
    as_it_came: "As it came", "原文";
    no_doubts: "No transaction is in doubt.", "没有存疑的事务。";
    doubts_intro: "Their checkers could not decide. Find out what happened, then say it.", "回查插件无法裁决。请查明实情后裁决。";
    in_doubt_advice: "Its checker could not decide: find out whether the business transaction was committed, then say it here.", "回查插件无法裁决：请查明业务事务是否已提交，然后在此裁决。";
    no_transactions: "No transaction matches", "没有匹配的事务";
    no_transactions_do: "A transaction comes into being with {0}.", "用 {0} 开始事务。";
    holds_none: "It holds no messages.", "没有关联的消息。";
    dead_intro: "Messages that are not sent any more, by what is wrong with them. Mend the cause, then send a group again.", "不再发送的消息，按失败原因分组。请先排除原因，再整组重发。";
    dead_newest: "The newest {0} dead messages are grouped; a group may have more, and each is reached by its link.", "仅对最新的 {0} 条死信分组；每组可能还有更多，可通过其链接查看。";
    none_dead: "No message is dead", "没有死信";
    none_dead_do: "What consumers reject, and what cannot be sent, comes here.", "被消费者拒绝或无法发送的消息会出现在这里。";
    group_gone: "This group is empty by now", "该组现已为空";
    no_consumers: "No consumer is known", "没有已知的消费者";
    no_consumers_do: "Name one in the configuration, as {0}.", "请在配置中以 {0} 声明。";
    no_records: "Nobody works on anything unfinished. (Records that are kept in a bucket, with inbox.store = kv, are not shown.)", "没有进行中的工作。（保存在 KV bucket 中的记录，即 inbox.store = kv，不在此显示。）";
    no_plugins: "No plugin is deployed", "没有部署插件";
    no_plugins_do: "Begin one with {0}; deploy it here or with {1}.", "用 {0} 新建；在此或用 {1} 部署。";
    no_lines: "It said nothing.", "没有日志。";
    holds_intro: "Messages of what is held wait, in order.", "被挂起者的消息按序等待。";
    no_holds: "Nothing is held", "没有挂起项";
    no_holds_do: "A topic, a key or a consumer can be paused here; a key is parked when a message of it dies before it was sent.", "可在此暂停主题、键或消费者；某键的消息在发出前死亡时，该键会停靠。";
    no_audit: "Nobody has done anything yet", "尚无操作记录";
    no_audit_do: "What people do here and with the commands is written down, with who and why.", "在此处和命令行中的操作都会记录操作人与理由。";
    // What can be done, and what follows.
    resend: "Send again", "重发";
    resend_effect: "They go once more, as the next generation, to the consumers that they are dead for.", "将以下一代次重新发给判其死亡的消费者。";
    resend_unsent_effect: "It goes at its old place in the order of its key; a key that was parked behind it goes on.", "将按原有的键内顺序发送；因它停靠的键会继续。";
    resend_group: "Send a group again", "整组重发";
    resend_so_many: "Send {0} again", "重发 {0} 条";
    discard: "Discard", "丢弃";
    discard_effect: "This cannot be undone: nobody will get it. A key that was parked behind it goes on.", "不可撤销：不会再有人收到。因它停靠的键会继续。";
    discard_group: "Discard a group", "整组丢弃";
    discard_so_many: "Discard {0}", "丢弃 {0} 条";
    so_many_dead: "Dead for this reason: {0}.", "{0} 条消息因此死亡。";
    replay: "Replay", "重放";
    replay_effect: "It goes once more to this one consumer.", "将再次发给这一个消费者。";
    replay_range_effect: "Messages of this time that were sent go once more to this consumer alone. The next page says how many there are.", "该时段内已发出的消息将再次只发给此消费者。下一页会说明数量。";
    replay_many_effect: "So many go once more to this consumer alone, the oldest first: {0}.", "{0} 条消息将再次只发给此消费者，从最早的开始。";
    group_more: "There are more than one step takes: do these, then the others.", "数量超过一次可处理的上限：先处理这些，再处理其余。";
    replay_so_many: "Replay {0}", "重放 {0} 条";
    replay_more: "There are more than that: replay these, the oldest; then the later ones are counted.", "数量超过此数：请先重放这些最早的，随后会统计较晚的部分。";
    count_first: "Count them first", "先统计数量";
    replay_none: "Nothing was sent in this time", "该时段内没有已发出的消息";
    forget: "Forget that it did this: the inbox tells it to run again", "忘记处理记录：收件箱会让它重新执行";
    commit: "Commit", "提交";
    commit_effect: "Messages: {0}. Those for the commit are sent, those for the rollback are cancelled. This cannot be undone.", "{0} 条消息：提交时的消息将发出，回滚时的消息将取消。不可撤销。";
    roll_back: "Roll back", "回滚";
    rollback_effect: "Messages: {0}. Those for the rollback are sent, those for the commit are cancelled. This cannot be undone.", "{0} 条消息：回滚时的消息将发出，提交时的消息将取消。不可撤销。";
    recheck: "Ask again", "重新回查";
    recheck_effect: "The checker is asked again from the beginning; its messages ({0}) wait.", "将从头重新询问回查插件；{0} 条消息继续等待。";
    pause: "Pause", "暂停";
    pause_effect: "Its messages wait, in order, until somebody lets it go on.", "其消息将按序等待，直到有人恢复。";
    pause_consumer_effect: "It gets no messages until somebody lets it go on.", "在恢复之前，它不会收到消息。";
    resume: "Resume", "恢复";
    resume_effect: "What waits goes on, in order.", "等待的消息将按序继续。";
    remove: "Remove", "移除";
    confirm_at_most: "With so many messages, and no more", "最多涉及的消息数";
    remove_consumer_effect: "Nobody waits for it any more: {0} messages that it has not finished count as consumed when nobody else lacks them. Take it out of the configuration too.", "不再等待它：它未完成的 {0} 条消息，若无其他消费者缺少，即视为已消费。请同时从配置中删除。";
    try_again: "Try again", "重试";
    try_again_effect: "The message is sent to it again, and it is told to run.", "消息将重新发给它，并令其执行。";
    count_as_done: "Count as done", "视为完成";
    count_as_done_effect: "It counts as finished without being run: this is its receipt.", "无需执行即视为完成：以此作为回执。";
    deploy: "Deploy", "部署";
    deploy_effect: "The file is compiled and checked; then this version answers, and calls that run end on the one before.", "文件经编译和检查后由该版本应答；进行中的调用在旧版本上结束。";
    restore: "Go back to this", "回退到此版本";
    restore_effect: "This version answers again, with what it was granted then.", "该版本以当时的授权重新应答。";
    remove_plugin_effect: "Nobody answers to this name any more: what needs it waits.", "此名称不再有应答：依赖它的工作将等待。";
    // What was done.
    so_many_of: "{0} of {1}:", "{1} 条中的 {0} 条：";
    the_other: "The other {0}:", "其余 {0} 条：";
    done_resend: "sent again.", "已重发。";
    rest_resend: "not dead any more.", "已非死亡状态。";
    done_discard: "discarded.", "已丢弃。";
    rest_discard: "sent already, or gone.", "已发出或已不存在。";
    done_replay: "will be sent once more.", "将再次发送。";
    rest_replay: "not sent yet, or dead.", "尚未发出，或已死亡。";
    done_commit: "committed.", "已提交。";
    done_rollback: "rolled back.", "已回滚。";
    rest_settle: "decided by somebody else meanwhile, or just being decided.", "已由他人裁决，或正在裁决。";
    done_recheck: "the checker is asked again.", "将重新询问回查插件。";
    rest_recheck: "not in doubt any more.", "已不再存疑。";
    done_pause: "paused.", "已暂停。";
    done_resume: "goes on.", "已恢复。";
    rest_resume: "was not paused.", "并未暂停。";
    done_record: "decided.", "已裁决。";
    rest_record: "neither parked nor rejected any more.", "已非停靠或被拒绝状态。";
    done_remove_consumer: "nobody waits for it any more.", "不再等待它。";
    rest_remove_consumer: "nobody waited for it.", "本就无人等待它。";
    done_deploy: "deployed.", "已部署。";
    done_restore: "this version answers again.", "该版本重新应答。";
    rest_restore: "there is no such version.", "没有这样的版本。";
    done_remove_plugin: "nobody answers to it any more.", "不再有应答。";
    rest_remove_plugin: "it was never deployed.", "从未部署过。";
    rest_none: "not done.", "未执行。";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_is_said_in_both_languages_with_the_same_places() {
        let places = |text: &str| {
            let mut found: Vec<_> = (0..4).filter(|n| text.contains(&format!("{{{n}}}"))).collect();
            found.sort_unstable();
            (found, text.matches('{').count())
        };
        for (name, english, chinese) in ALL.iter().chain(endpoint::ALL).chain(problem::ALL) {
            assert!(!english.trim().is_empty() && !chinese.trim().is_empty(), "{name} is empty");
            assert_eq!(places(english), places(chinese), "{name}");
            let is_same_word = ["api"].contains(name);
            assert!(is_same_word || english != chinese, "{name} is not translated");
        }
    }
}
