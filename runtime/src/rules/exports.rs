//! Which rules a component exports: one at least, each with the functions and types of the contract.

use wasmtime::Engine;
use wasmtime::component::types::ComponentItem;
use wasmtime::component::{Component, InstancePre};

use super::Error;
use super::plugin::Rule;
use super::v1::{
    CheckBackPlugin, CheckBackPluginPre, Decision, Delivery, IdempotencyPlugin, IdempotencyPluginPre, Identity,
    Message, NotificationPlugin, NotificationPluginPre, NotificationResponse, Outcome, RuleError, Seen, ShapedRequest,
    State, Transaction, Verdict,
};

/// The rules of one version of a plugin.
pub struct Exports {
    pub check_back: Option<Rule<CheckBackPluginPre<State>, CheckBackPlugin>>,
    pub idempotency: Option<Rule<IdempotencyPluginPre<State>, IdempotencyPlugin>>,
    pub notification: Option<Rule<NotificationPluginPre<State>, NotificationPlugin>>,
}

const CHECK_BACK: &str = "avouch:rules/check-back@1.0.0";
const IDEMPOTENCY: &str = "avouch:rules/idempotency@1.0.0";
const NOTIFICATION: &str = "avouch:rules/notification@1.0.0";

impl Exports {
    /// Those of a component, whose instances are made from `pre`.
    pub fn of(engine: &Engine, component: &Component, pre: &InstancePre<State>, plugin: &str) -> Result<Self, Error> {
        let exports = |rule: &str| component.get_export_index(None, rule).is_some();
        for rule in [CHECK_BACK, IDEMPOTENCY, NOTIFICATION].into_iter().filter(|rule| exports(rule)) {
            check_types(engine, component, rule).map_err(|why| {
                Error::Refused(format!("{plugin} does not export {rule} as the contract has it: {why:#}"))
            })?;
        }
        let differs = |why: wasmtime::Error| {
            Error::Refused(format!("{plugin} does not export its rules as avouch:rules@1.0.0 has them: {why:#}"))
        };
        let check_back = exports(CHECK_BACK).then(|| CheckBackPluginPre::new(pre.clone()));
        let idempotency = exports(IDEMPOTENCY).then(|| IdempotencyPluginPre::new(pre.clone()));
        let notification = exports(NOTIFICATION).then(|| NotificationPluginPre::new(pre.clone()));
        if check_back.is_none() && idempotency.is_none() && notification.is_none() {
            return Err(Error::Refused(format!(
                "{plugin} exports no rule of avouch:rules@1.0.0: #[check_back], #[idempotency] or #[notification]"
            )));
        }
        Ok(Self {
            check_back: check_back.transpose().map_err(differs)?.map(Rule::of),
            idempotency: idempotency.transpose().map_err(differs)?.map(Rule::of),
            notification: notification.transpose().map_err(differs)?.map(Rule::of),
        })
    }
}

/// wasmtime compares the types of exports at the first call; who deploys wants to know before.
fn check_types(engine: &Engine, component: &Component, rule: &str) -> wasmtime::Result<()> {
    type Answered<T> = (Result<T, RuleError>,);
    let ty = component.component_type();
    let Some(ComponentItem::ComponentInstance(exported)) = ty.get_export(engine, rule).map(|e| e.ty) else {
        return Err(wasmtime::Error::msg(format!("it exports no {rule}")));
    };
    let function = |name: &str| match exported.get_export(engine, name).map(|e| e.ty) {
        Some(ComponentItem::ComponentFunc(function)) => Ok(function),
        _ => Err(wasmtime::Error::msg(format!("it exports no function {name}"))),
    };
    let types = ty.instance_type();
    match rule {
        CHECK_BACK => function("check")?.typecheck::<(&Transaction,), Answered<Verdict>>(&types),
        IDEMPOTENCY => {
            function("identify")?.typecheck::<(&str, &Message), Answered<Identity>>(&types)?;
            function("decide")?.typecheck::<(&str, &Message, &Seen), Answered<Decision>>(&types)
        }
        NOTIFICATION => {
            function("shape")?.typecheck::<(&Delivery,), Answered<ShapedRequest>>(&types)?;
            function("read")?.typecheck::<(&Delivery, &NotificationResponse), Answered<Outcome>>(&types)
        }
        other => Err(wasmtime::Error::msg(format!("{other} is no rule"))),
    }
}
