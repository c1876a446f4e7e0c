import time,sys
from pathlib import Path
from triptych.modalities import rooms
import glob
from triptych.modalities.audio import examine as ea, settings as sa
from triptych.modalities.image import examine as ei, settings as si
from triptych.modalities.text import examine as et, settings as st
def t(f,xs,n=3):
    b=9
    for _ in range(n):
        a=time.perf_counter()
        for x in xs:f(x)
        b=min(b,time.perf_counter()-a)
    return b/len(xs)*1e6
import os
root=os.path.expanduser('~/.cache/triptych/samples/digits-v1-audio.audio-image.image-text.text/')
for name,m,s,files in (('audio',ea,sa,sorted(glob.glob(root+'audio/*.wav'))[:300]),('audio',ea,sa,sorted(glob.glob('/work/shared/data/fsdd/recordings/*.wav'))[:300]),('image',ei,si,sorted(glob.glob(root+'image/*.png'))[:300]),('image',ei,si,sorted(glob.glob('/work/shared/data/mnist/images/*.png'))[:300]),('text',et,st,["a picture of seven from a school book"]*300)):
    r=rooms()[name]
    v=[r.read(f) for f in files]
    print(name,'read %.0f examine %.0f'%(t(r.read,files),t(lambda x:m.examine(x,s.Prepare()),v)))
