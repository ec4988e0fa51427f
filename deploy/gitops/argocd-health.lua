-- Argo CD's health of a RetentionPolicy. What waits is Progressing, what somebody has to look at is Degraded.
local status = obj.status or {}
local conditions = {}
for _, condition in ipairs(status.conditions or {}) do
  conditions[condition.type] = condition
end
local function is(type, value)
  return conditions[type] ~= nil and conditions[type].status == value
end

if status.observedGeneration ~= obj.metadata.generation or conditions.Ready == nil then
  return {status = "Progressing", message = "The controller has not seen this version yet"}
end
if is("Stalled", "True") then
  return {status = "Degraded", message = conditions.Stalled.message}
end
if is("Reconciling", "True") then
  return {status = "Progressing", message = conditions.Reconciling.message}
end
if not is("Ready", "True") then
  return {status = "Progressing", message = conditions.Ready.message}
end
if conditions.Ready.reason == "Suspended" then
  return {status = "Suspended", message = conditions.Ready.message}
end
-- Without this block, health is about the CronJobs alone, and not about how their runs go.
if is("LastRunSucceeded", "False") then
  return {status = "Degraded", message = conditions.LastRunSucceeded.message}
end
return {status = "Healthy", message = conditions.Ready.message}
