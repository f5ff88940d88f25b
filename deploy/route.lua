-- Every study that has become stable goes to the node. Its own results make the study stable again and are sent once
-- more; the node knows them and does nothing.
function OnStableStudy(study, tags, metadata)
  RestApiPost('/modalities/node/store', study, false)
end
