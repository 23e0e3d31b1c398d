-- false, and not absent: where Git says suspend: false, an absent field is drift;
-- where Git says nothing, a false one is not.
obj.spec.suspend = false
return obj
