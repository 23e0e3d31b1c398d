-- The health of a ProviderToken, as a workload sees it: while the target Secret
-- holds a token that works, it is Healthy, whatever becomes of refreshes; the
-- message then carries the warning. It uses no library but os, since Argo CD
-- opens no other for scripts of argocd-cm.
local os = require("os")

local status = obj.status or {}
local spec = obj.spec or {}

local conditions = {}
for _, condition in ipairs(status.conditions or {}) do
  if condition.type ~= nil then
    conditions[condition.type] = condition
  end
end

local function holds(kind)
  return conditions[kind] ~= nil and conditions[kind].status == "True"
end

local function message(kind, otherwise)
  local condition = conditions[kind]
  if condition == nil or condition.message == nil or condition.message == "" then
    return otherwise
  end
  return condition.message
end

local function health(code, text)
  return {status = code, message = text}
end

-- A status about an earlier spec says nothing about this one.
local generation = obj.metadata.generation or 0
if conditions.Ready == nil or (status.observedGeneration or 0) < generation then
  return health("Progressing", "waiting for the operator to look at this spec")
end

-- Instants are RFC 3339 in UTC with whole seconds, and compare as text.
local expires = status.token ~= nil and status.token.expiresAt or nil

if holds("Ready") then
  -- The operator turns Ready to false at the second of the expiry. Where it did
  -- not, it does not run.
  if expires ~= nil and expires < os.date("!%Y-%m-%dT%H:%M:%SZ") then
    return health("Degraded", "the token expired at " .. expires .. " and the operator has not said so: check that it runs")
  end
  local text = message("Ready", "the Secret holds a token that works")
  if expires ~= nil then
    text = text .. " until " .. expires
  end
  if spec.suspend then
    text = text .. "; refreshing is suspended"
  end
  for _, kind in ipairs({"CredentialsResolved", "TokenIssued", "SecretPublished"}) do
    local condition = conditions[kind]
    if condition ~= nil and condition.status == "False" then
      text = text .. "; warning: " .. message(kind, kind .. " is false")
    end
  end
  if conditions.TokenIssued ~= nil and conditions.TokenIssued.reason == "LifetimeTooShort" then
    text = text .. "; warning: " .. message("TokenIssued", "the token's lifetime is short")
  end
  return health("Healthy", text)
end

local text = message("Ready", "there is no token that works")

-- Objects of one commit arrive in any order: while the operator still grants
-- them time, waiting for one must not fail a sync.
local why = status.failure ~= nil and status.failure.reason or ""
if holds("Reconciling") and (why == "WaitingForCredentials" or why == "WaitingForProvider") then
  return health("Progressing", text)
end
if conditions.Ready.reason == "TokenExpired" then
  return health("Degraded", text)
end
-- Nobody expects a token of an object that was told to ask for none.
if spec.suspend then
  return health("Suspended", text)
end
if holds("Stalled") then
  return health("Degraded", message("Stalled", text))
end
return health("Progressing", text)
