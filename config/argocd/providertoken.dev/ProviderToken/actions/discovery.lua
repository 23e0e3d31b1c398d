-- Only what would do something: nothing is asked for while suspended, so that a
-- refresh request would lie there until the ProviderToken is resumed.
if obj.spec ~= nil and obj.spec.suspend then
  return {resume = {iconClass = "fa fa-fw fa-play", displayName = "Resume refreshes"}}
end
return {
  refresh = {iconClass = "fa fa-fw fa-sync", displayName = "Refresh the token now"},
  suspend = {iconClass = "fa fa-fw fa-pause", displayName = "Suspend refreshes"},
}
